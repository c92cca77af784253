"""What a Hopper GPU has to show, measured part by part; see README.md beside this."""
