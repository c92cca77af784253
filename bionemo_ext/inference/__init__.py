"""The encoder that serves: plain PyTorch on packed sequences, exact and without padding."""
