"""How the service scales: one replica's saturation, two of them, one that is killed."""
