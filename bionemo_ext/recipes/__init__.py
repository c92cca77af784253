"""Pretraining and fine-tuning runs on NeMo, composed from ``conf/``."""
