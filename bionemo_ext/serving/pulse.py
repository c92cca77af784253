"""A worker that was held up ends itself rather than answer late.

Triton's Python backend gives up on a request when the worker shows no sign of life for a second
(stopped, swapped out, starved of CPU), but not on the worker: it takes the answer that comes late
for that of the next request, and so on from there. Whoever serves starts an ended worker again
(:mod:`bionemo_ext.serving.supervise`); a wrong answer nobody would notice.
"""

import functools
import inspect
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_BEAT_S = 0.05
# Triton looks once a second for a sign that its own thread gives every 0.3 s: whoever it gives up
# on was held up for 0.7 s at least.
_LIMIT_S = 0.5
# A request may have waited for a worker that was held up just before.
_BEFORE_S = 1.0
_EXIT_CODE = 70


class Pulse:
    """A thread that notices when the whole process did not run.

    The beat needs Python's lock as any thread does. Time that another thread spent computing while
    it held the lock is none in which the process was held up, and does not count.
    """

    def __init__(self) -> None:
        self._last = time.monotonic(), _thread_times()
        self._late = float("-inf")
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def held_up(self, since: float) -> bool:
        """Whether the process was held up between ``since`` (``time.monotonic``) and now."""
        # The beat itself may not have run again yet.
        return self._stood_still() > _LIMIT_S or self._late > since - _BEFORE_S

    def _stood_still(self) -> float:
        """Seconds since the last beat in which no thread of ours ran."""
        last, before = self._last
        since = time.monotonic() - last
        if since <= _LIMIT_S:
            return since
        ran = (time_s - before.get(thread, 0.0) for thread, time_s in _thread_times().items())
        return since - max(ran, default=0.0)

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT_S)
            if self._stood_still() > _LIMIT_S:
                self._late = time.monotonic()
            self._last = time.monotonic(), _thread_times()


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
        _end_if(self._pulse.held_up(began))
        answers = execute(self, requests)
        _end_if(self._pulse.held_up(began))
        return answers

    @functools.wraps(execute)
    async def run_async(self: Any, requests: Any) -> Any:
        began = time.monotonic()
        _end_if(self._pulse.held_up(began))
        awaited: Awaitable[Any] = execute(self, requests)
        answers = await awaited
        _end_if(self._pulse.held_up(began))
        return answers

    model.initialize = first  # type: ignore[attr-defined]
    model.execute = run_async if inspect.iscoroutinefunction(execute) else run  # type: ignore[attr-defined]
    return model


def _end_if(held_up: bool) -> None:
    if held_up:
        print("a worker was held up before it had answered, and ends", file=sys.stderr, flush=True)
        os._exit(_EXIT_CODE)
