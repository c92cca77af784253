"""A worker that was held up ends itself rather than answer late.

Triton's Python backend gives up on a request when the worker shows no sign of life for a second
(stopped, swapped out, starved of CPU), but not on the worker: it takes the answer that comes late
for that of the next request, and so on from there. Whoever serves starts an ended worker again
(:mod:`bionemo_ext.serving.supervise`); a wrong answer nobody would notice.

What an execution gives back within a second of being sent is never late, however long the worker
stood still meanwhile. Triton sends the next execution once it has what this one gave back, so what
was in time clears what was before it.
"""

import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_BEAT_S = 0.05
# Triton looks once a second for a sign that its own thread gives every 0.3 s: whoever it gives up
# on was held up for 0.7 s at least.
_LIMIT_S = 0.5
# An execution may have waited for a worker that was held up just before.
_BEFORE_S = 1.0
# Triton waits for a second before it looks at all; it may have begun as the worker stood still.
_IN_TIME_S = 0.9
_EXIT_CODE = 70


class Pulse:
    """A thread that notices when the whole process did not run.

    The beat needs Python's lock as any thread does. Time that another thread spent computing while
    it held the lock is none in which the process was held up, and does not count.
    """

    def __init__(self) -> None:
        self._last = time.monotonic(), _thread_times()
        # From when to when the process was held up last, and when an execution was last in time.
        self._held_up = float("-inf"), float("-inf")
        self._in_time = float("-inf")
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def is_late(self, since: float, now: float) -> bool:
        """Whether Triton may have given up on an execution.

        Parameters
        ----------
        since, now : float
            When the execution began, and what the time is (``time.monotonic``).
        """
        begun, ended = self._held_up
        if self._stood_still(now) > _LIMIT_S:  # the beat itself has not run again yet
            begun, ended = self._span(now)
        return ended > max(self._in_time, since - _BEFORE_S) and now - begun > _IN_TIME_S

    def gave_back(self, now: float) -> None:
        """Note that an execution was not late."""
        if self._stood_still(now) > _LIMIT_S:  # nor is the beat to find this later
            self._last = now, _thread_times()
        self._in_time = now

    def _stood_still(self, now: float) -> float:
        """Seconds since the last beat in which no thread of ours ran."""
        last, before = self._last
        since = now - last
        if since <= _LIMIT_S:
            return since
        ran = (time_s - before.get(thread, 0.0) for thread, time_s in _thread_times().items())
        return since - max(ran, default=0.0)

    def _span(self, now: float) -> tuple[float, float]:
        """From when to when the process was held up, with what came shortly before."""
        begun, ended = self._held_up
        last, _ = self._last
        return (begun if ended > max(self._in_time, last - _BEFORE_S) else last), now

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT_S)
            now = time.monotonic()
            if self._stood_still(now) > _LIMIT_S:
                self._held_up = self._span(now)
            self._last = now, _thread_times()


def _thread_times() -> dict[int, float]:
    """Processor time, in seconds, of every thread that runs Python, by Linux's id."""
    times = {}
    for thread in threading.enumerate():
        if thread.native_id is not None:
            with suppress(OSError):  # it has just ended
                times[thread.native_id] = time.clock_gettime(_clock_of(thread.native_id))
    return times


def _clock_of(thread: int) -> int:
    """Linux's clock of a thread's processor time (CPUCLOCK_SCHED and CPUCLOCK_PERTHREAD).

    ``time.pthread_getcpuclockid`` gives the same, but crashes for a thread that has ended.
    """
    return ~thread << 3 | 2 | 4


def never_late(model: type[T]) -> type[T]:
    """Decorate a ``TritonPythonModel``: its ``execute`` answers in time, or the process ends."""
    initialize: Callable[..., None] = model.initialize  # type: ignore[attr-defined]
    execute: Callable[..., Any] = model.execute  # type: ignore[attr-defined]

    @functools.wraps(initialize)
    def first(self: Any, args: dict[str, str]) -> None:
        initialize(self, args)
        self._pulse = Pulse()  # now: while it is loading, a model may hold up its process

    @functools.wraps(execute)
    def run(self: Any, requests: Any) -> Any:
        began = time.monotonic()
        _end_if(self._pulse.is_late(began, began))
        answers = execute(self, requests)
        ended = time.monotonic()
        _end_if(self._pulse.is_late(began, ended))
        self._pulse.gave_back(ended)
        return answers

    model.initialize = first  # type: ignore[attr-defined]
    model.execute = run  # type: ignore[attr-defined]
    return model


def _end_if(is_late: bool) -> None:
    if is_late:
        print("a worker was held up before it had answered, and ends", file=sys.stderr, flush=True)
        os._exit(_EXIT_CODE)
