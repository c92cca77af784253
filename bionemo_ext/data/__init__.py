"""Sequences on disk to batches in memory: stores, masking, sampling."""
