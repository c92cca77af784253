"""Files that results are written to, whole or not at all, and pictures of them."""
