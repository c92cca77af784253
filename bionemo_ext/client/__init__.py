"""Ask a running server for embeddings and predictions (no torch, no NeMo)."""

from bionemo_ext.client.wire import quiet  # noqa: F401 (before gRPC is imported)

# isort: split
from bionemo_ext.client.async_client import AsyncClient
from bionemo_ext.client.client import Client
from bionemo_ext.client.frames import to_frame
from bionemo_ext.client.results import Prediction, Result, Structure, TruncationWarning
from bionemo_ext.client.wire.access import Tls
from bionemo_ext.client.wire.retry import Retry

__all__ = [
    "AsyncClient",
    "Client",
    "Prediction",
    "Result",
    "Retry",
    "Structure",
    "Tls",
    "TruncationWarning",
    "to_frame",
]
