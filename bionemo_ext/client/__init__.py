"""Ask a running server for embeddings and predictions (no torch, no NeMo)."""

from bionemo_ext.client.client import Client
from bionemo_ext.client.results import Prediction, Result, TruncationWarning

__all__ = ["Client", "Prediction", "Result", "TruncationWarning"]
