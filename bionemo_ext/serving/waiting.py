"""The queue before the encoder: bounded in length and time, and cut by tokens; knows no Triton.

Triton's own queue could be bounded too, but then its batcher sleeps for half a second whenever a
request comes just as another is answered (seen with 2.51: one request in a hundred).
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Waiting(Generic[T]):
    """What waits.

    Parameters
    ----------
    item : T
        A request.
    tokens : int
        Its size.
    until : float
        When it is too late to begin with it, as ``time.monotonic`` counts.
    """

    item: T
    tokens: int
    until: float


class WaitingRoom(Generic[T]):
    """Requests in the order they came.

    Parameters
    ----------
    size : int
        How many may wait.
    max_tokens : int
        How many tokens are taken at once; one request is, whatever its size.
    """

    def __init__(self, size: int, max_tokens: int) -> None:
        self.size = size
        self.max_tokens = max_tokens
        self._waiting: deque[Waiting[T]] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T, tokens: int, patience_s: float) -> bool:
        """Add a request, which may wait so long; False when the room is full."""
        with self._changed:
            if len(self._waiting) >= self.size:
                return False
            self._waiting.append(Waiting(item, tokens, time.monotonic() + patience_s))
            self._changed.notify()
            return True

    def take(self) -> tuple[list[T], list[T]] | None:
        """Wait for requests, and take as many as belong into one execution.

        Returns
        -------
        ready, late : list of T
            Those to answer now, and those that waited for too long; None once the room is closed
            and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            ready: list[T] = []
            late: list[T] = []
            tokens = 0
            while self._waiting:
                first = self._waiting[0]
                if time.monotonic() > first.until:
                    late.append(first.item)
                elif ready and tokens + first.tokens > self.max_tokens:
                    break
                else:
                    ready.append(first.item)
                    tokens += first.tokens
                self._waiting.popleft()
            return ready, late

    def close(self) -> None:
        """Let :meth:`take` end once nothing waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
