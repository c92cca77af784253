"""The queue before the encoder: bounded in length and time, and cut by tokens; knows no Triton.

Triton's own queue could be bounded too, but then its batcher sleeps for half a second whenever a
request comes just as another is answered (seen with 2.51: one request in a hundred).
"""

import threading
import time
from collections import Counter, deque
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
    since, until : float
        When it came, and when it is too late to begin with it, as ``time.monotonic`` counts.
    """

    item: T
    tokens: int
    since: float
    until: float


class WaitingRoom(Generic[T]):
    """Requests in the order they came.

    Parameters
    ----------
    size : int
        How many may wait.
    max_tokens : int
        How many tokens are taken at once; one request is, whatever its size.

    Attributes
    ----------
    counts : Counter of str
        Since the start: ``queued_requests`` that were taken, late ones included, the microseconds
        that they waited, ``queue_us``, and ``refused_requests``, for which there was no room or
        that were late.
    """

    def __init__(self, size: int, max_tokens: int) -> None:
        self.size = size
        self.max_tokens = max_tokens
        # Every key from the start: it is read while other threads count.
        self.counts = Counter(queued_requests=0, queue_us=0, refused_requests=0)
        self._waiting: deque[Waiting[T]] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def put(self, item: T, tokens: int, patience_s: float) -> bool:
        """Add a request, which may wait so long; False when the room is full."""
        with self._changed:
            if len(self._waiting) >= self.size:
                self.counts["refused_requests"] += 1
                return False
            now = time.monotonic()
            self._waiting.append(Waiting(item, tokens, now, now + patience_s))
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
                now = time.monotonic()
                if now > first.until:
                    late.append(first.item)
                    self.counts["refused_requests"] += 1
                elif ready and tokens + first.tokens > self.max_tokens:
                    break
                else:
                    ready.append(first.item)
                    tokens += first.tokens
                self._waiting.popleft()
                self.counts["queued_requests"] += 1
                self.counts["queue_us"] += round((now - first.since) * 1e6)
            return ready, late

    def close(self) -> None:
        """Let :meth:`take` end once nothing waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
