"""What became of the attempts at one request, and what to tell the caller in the end."""

import asyncio

from bionemo_ext.client.wire.failures import Failure
from bionemo_ext.errors import (
    BionemoExtError,
    DeadlineError,
    NotFoundError,
    RequestError,
    UnavailableError,
)


class Attempts:
    """Counts attempts, and keeps the deadline that they share.

    Parameters
    ----------
    timeout_s : float
        How long they may take together.
    """

    def __init__(self, timeout_s: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._timeout_s = timeout_s
        self._failures = 0
        self._last: Failure | None = None
        self._answered = False

    @property
    def made(self) -> int:
        """How many have failed."""
        return self._failures

    @property
    def taken_s(self) -> float:
        """Seconds since the first began."""
        return self._clock() - self._began

    @property
    def left_s(self) -> float:
        """Seconds that remain."""
        return max(0.0, self._timeout_s - self.taken_s)

    def note(self, failure: Failure) -> None:
        """Count one that failed."""
        self._failures += 1
        self._last = failure
        self._answered = self._answered or failure.answered

    def error(self, failure: Failure, who: str, everyone: str) -> BionemoExtError:
        """Make the error of a request whose last attempt was ``failure``.

        Parameters
        ----------
        failure : Failure
            What it came to.
        who, everyone : str
            The server that it was asked, and all that there are.
        """
        kind, detail = failure.kind, failure.detail
        if self.made > 1:
            detail += f" (tried {self.made} times in {self.taken_s:.1f} s)"
        if issubclass(kind, UnavailableError) and failure.answered:
            return kind(f"the server at {who} took no request: {detail}")
        if issubclass(kind, UnavailableError):
            return kind(f"no answer from {everyone}: {detail}")
        if issubclass(kind, DeadlineError):
            return kind(f"{who} did not answer in time: {detail}")
        if issubclass(kind, RequestError | NotFoundError):
            return kind(f"the server refused the request: {detail}")
        return kind(f"the server at {who} failed: {detail}")

    def too_late(self, who: str, everyone: str) -> BionemoExtError:
        """Make the error of a request whose deadline has passed.

        It is a DeadlineError, but where every attempt failed and none reached a server.
        """
        last = self._last
        if last is None:
            return DeadlineError(f"{who} did not answer in time: no answer within {self._limit}")
        often = f"tried {self.made} times in {self._limit}, at last: {last.detail}"
        if self._answered:
            return DeadlineError(f"{who} did not answer in time: {often}")
        return UnavailableError(f"no answer from {everyone}: {often}")

    @property
    def _limit(self) -> str:
        return f"{self._timeout_s:g} s"
