"""The gRPC connection: addresses, calls, and statuses as errors of our own family."""

import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from bionemo_ext.contract import SEQUENCE, Endpoint, from_message
from bionemo_ext.errors import (
    BionemoExtError,
    DeadlineError,
    InputError,
    NotFoundError,
    RequestError,
    ServerError,
    UnavailableError,
)

T = TypeVar("T")

_URL = re.compile(r"grpc://(?P<address>(?:\[[0-9a-fA-F:]+\]|[^\s/:@]+):(?P<port>\d{1,5}))/?")
_QUICK_S = 10.0
_STATUS: Mapping[str, type[BionemoExtError]] = {
    "INVALID_ARGUMENT": RequestError,
    "FAILED_PRECONDITION": RequestError,
    "OUT_OF_RANGE": RequestError,
    "ALREADY_EXISTS": RequestError,
    "PERMISSION_DENIED": RequestError,
    "UNAUTHENTICATED": RequestError,
    "NOT_FOUND": NotFoundError,
    "UNAVAILABLE": UnavailableError,
    "RESOURCE_EXHAUSTED": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineError,
}


def parse_url(url: str) -> str:
    """Take ``host:port`` out of ``grpc://host:port``.

    Raises
    ------
    InputError
        If the address is of another form.
    """
    match = _URL.fullmatch(url)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise InputError(
            f"{url!r} is not an address of the server; it looks like grpc://127.0.0.1:8001"
        )
    return match["address"]


def error_class(status: str | None) -> type[BionemoExtError]:
    """Choose the class of our family for a gRPC status such as ``StatusCode.NOT_FOUND``."""
    return _STATUS.get((status or "").removeprefix("StatusCode."), ServerError)


class Connection:
    """Calls on one server; safe to use from several threads.

    Parameters
    ----------
    url : str
        ``grpc://host:port``.
    timeout_s : float
        How long an inference may take, its wait in the server's queue included.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url = url
        self.timeout_s = timeout_s
        # Kept in a list that is cleared when this object or the program ends: tritonclient closes
        # itself on deletion, which fails with a trace once the interpreter is being taken down.
        self._clients = [triton.InferenceServerClient(parse_url(url))]
        weakref.finalize(self, self._clients.clear)

    @property
    def _triton(self) -> triton.InferenceServerClient:
        return self._clients[0]

    def close(self) -> None:
        """Close the channel."""
        self._triton.close()

    def server_ready(self) -> bool:
        """Whether server and models are ready."""
        return bool(self._call(lambda: self._triton.is_server_ready(client_timeout=_QUICK_S)))

    def endpoint_names(self) -> list[str]:
        """Names of the endpoints that are ready."""
        index = self._call(lambda: self._triton.get_model_repository_index(client_timeout=_QUICK_S))
        return sorted(model.name for model in index.models if model.state == "READY")

    def endpoint(self, name: str) -> Endpoint:
        """Ask the server what an endpoint is."""
        reply = self._call(lambda: self._triton.get_model_config(name, client_timeout=_QUICK_S))
        return from_message(reply.config)

    def infer(
        self, endpoint: str, sequences: Sequence[str], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """One request: an array an output, its first dimension the sequences."""
        tensor = triton.InferInput(SEQUENCE, [len(sequences), 1], "BYTES")
        data = np.array([s.encode() for s in sequences], dtype=np.object_)
        tensor.set_data_from_numpy(data.reshape(-1, 1))
        wanted = [triton.InferRequestedOutput(name) for name in outputs]
        reply = self._call(
            lambda: self._triton.infer(
                endpoint, [tensor], outputs=wanted, client_timeout=self.timeout_s
            )
        )
        return {name: reply.as_numpy(name) for name in outputs}

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except InferenceServerException as error:
            kind = error_class(error.status())
            raise kind(self._sentence(kind, str(error.message()))) from None

    def _sentence(self, kind: type[BionemoExtError], message: str) -> str:
        detail = " ".join(message.removeprefix("[request id: <id_unknown>] ").split())
        if kind is UnavailableError:
            return f"no answer from {self.url}: {detail}"
        if kind is DeadlineError:
            return f"{self.url} did not answer in time: {detail}"
        if kind in (RequestError, NotFoundError):
            return f"the server refused the request: {detail}"
        return f"the server at {self.url} failed: {detail}"
