"""One connection to one server, whatever protocol it speaks."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract import Endpoint

# Object arrays of bytes are BYTES, int32 is INT32.
Inputs = Mapping[str, NDArray[Any]]
Arrays = dict[str, NDArray[Any]]


class Transport(Protocol):
    """One server. What fails raises :class:`bionemo_ext.client.wire.failures.Failure`.

    It belongs to the event loop of its first call. A call that is cancelled is given up on the
    server too.
    """

    async def ready(self, timeout_s: float) -> bool:
        """Whether server and models are ready."""
        ...

    async def endpoint_names(self, timeout_s: float) -> list[str]:
        """Names of the endpoints that are ready, sorted."""
        ...

    async def endpoint(self, name: str, timeout_s: float) -> Endpoint:
        """Ask what an endpoint is."""
        ...

    async def infer(
        self, endpoint: str, inputs: Inputs, outputs: Sequence[str], timeout_s: float
    ) -> Arrays:
        """One request: arrays [B, 1] in, arrays [B, ...] out. The server drops it when late."""
        ...

    async def close(self) -> None:
        """Close the connection; calls under way are given up."""
        ...


def triton_type(array: NDArray[Any]) -> str:
    """Triton's name of an input's type."""
    return "INT32" if array.dtype == np.int32 else "BYTES"
