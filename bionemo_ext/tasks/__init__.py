"""What is predicted from proteins, and how predictions are scored."""
