"""What one attempt at a request can come to other than an answer: classes of errors, retries.

The class follows from the status alone (``docs/client.md`` has the table); whether another attempt
may succeed also from the text, because Triton says ``UNAVAILABLE`` of a full queue, of a protocol
that is closed and of a server that stops.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bionemo_ext.errors import (
    BionemoExtError,
    BusyError,
    DeadlineError,
    NotFoundError,
    RequestError,
    ServerError,
    UnavailableError,
)

_GRPC: Mapping[str, type[BionemoExtError]] = {
    "INVALID_ARGUMENT": RequestError,
    "FAILED_PRECONDITION": RequestError,
    "OUT_OF_RANGE": RequestError,
    "ALREADY_EXISTS": RequestError,
    "PERMISSION_DENIED": RequestError,
    "UNAUTHENTICATED": RequestError,
    "NOT_FOUND": NotFoundError,
    "UNAVAILABLE": UnavailableError,
    "RESOURCE_EXHAUSTED": BusyError,
    "DEADLINE_EXCEEDED": DeadlineError,
}
_HTTP: Mapping[int, type[BionemoExtError]] = {
    404: NotFoundError,
    408: DeadlineError,
    429: BusyError,
    502: UnavailableError,
    503: UnavailableError,
    504: DeadlineError,
}
_QUEUE_FULL = re.compile(r"maximum queue size|queue is full", re.IGNORECASE)
# The request waited for as long as the deadline that it carried, or the queue, allowed.
_TOO_LATE = re.compile(r"waited too long|timeout expired", re.IGNORECASE)
_CLOSED = re.compile(r"restricted|not allowed", re.IGNORECASE)
# Of gRPC itself, of a proxy: the same message is too large the next time too.
_TOO_LARGE = re.compile(r"larger than max|too large", re.IGNORECASE)
_DEAD_WORKER = re.compile(r"stub process", re.IGNORECASE)
_NOT_READY = re.compile(r"not ready|no available versions|unknown model", re.IGNORECASE)


@dataclass(eq=False)
class Failure(Exception):  # noqa: N818 (never leaves the client; what leaves is of ``kind``)
    """One attempt that brought no answer.

    Parameters
    ----------
    kind : type
        The class of our family that a caller gets in the end.
    detail : str
        What the server or the network said, in one line.
    retry : bool
        Whether another attempt may succeed.
    lost : bool
        Whether the replica is to be left out until it is well again.
    answered : bool
        Whether a server said this; else nobody could be reached.
    """

    kind: type[BionemoExtError]
    detail: str
    retry: bool = False
    lost: bool = False
    answered: bool = True


def grpc_class(status: str | None) -> type[BionemoExtError]:
    """Choose the class for a gRPC status such as ``StatusCode.NOT_FOUND``."""
    return _GRPC.get((status or "").removeprefix("StatusCode."), ServerError)


def http_class(code: int) -> type[BionemoExtError]:
    """Choose the class for an HTTP code; every other 4xx is a refusal, the rest a failure."""
    return _HTTP.get(code, RequestError if 400 <= code < 500 else ServerError)


def judge(kind: type[BionemoExtError], message: str, *, known: bool) -> Failure:
    """Say of a server's error whether another attempt, or another replica, may do better.

    Parameters
    ----------
    kind : type
        The class that the status gives.
    message : str
        What came with the status.
    known : bool
        Whether the endpoint has been there before; if so its absence means that the server starts.
    """
    detail = one_line(message)
    if issubclass(kind, UnavailableError):
        if _TOO_LARGE.search(detail):
            return Failure(RequestError, detail)
        if _QUEUE_FULL.search(detail) or kind is BusyError:
            return Failure(BusyError, detail, retry=True)
        if _TOO_LATE.search(detail):
            return Failure(kind, detail, retry=True)
        if _CLOSED.search(detail):
            return Failure(kind, detail)
        return Failure(kind, detail, retry=True, lost=True)
    if known and _NOT_READY.search(detail) and issubclass(kind, NotFoundError | RequestError):
        return Failure(kind, detail, retry=True, lost=True)
    if kind is ServerError and _DEAD_WORKER.search(detail):
        return Failure(kind, detail, retry=True, lost=True)
    return Failure(kind, detail)


def one_line(message: str) -> str:
    """Take line ends, and the mark of a request without an id, out of a server's message."""
    return " ".join(message.removeprefix("[request id: <id_unknown>] ").split())
