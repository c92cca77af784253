"""An event loop in a thread of its own, which blocking callers hand coroutine functions to."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import ParamSpec, TypeVar

from bionemo_ext.client.truncation import told_here
from bionemo_ext.client.wire.connection import CLOSED, CLOSED_MEANWHILE
from bionemo_ext.errors import InputError, UnavailableError

P = ParamSpec("P")
T = TypeVar("T")
Call = Callable[[], Awaitable[T]]

# How long the end of the program, or of the client, may take.
_END_S = 5.0


class LoopThread:
    """Starts with the first call; safe to use from several threads, even inside a running loop."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may end a stream in the thread that holds it.
        self._lock = threading.RLock()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for what a coroutine function gives; broken off, as by Ctrl-C, it is cancelled.

        Raises
        ------
        InputError
            If the client was closed before, or is that of a process that this one was forked from.
        UnavailableError
            If it is closed meanwhile.
        """
        begun: Future[Future[T]] = Future()
        with told_here():
            try:
                self._begin(partial(call, *args, **kwargs), begun)
                return begun.result().result()
            except CancelledError:
                raise UnavailableError(CLOSED_MEANWHILE) from None
            finally:
                begun.add_done_callback(_give_up)

    def start(self, call: Call[object]) -> None:
        """Begin what nobody waits for; nothing happens when the loop has ended."""
        with self._lock:
            if self._loop is not None and not self._closed:
                self._loop.call_soon_threadsafe(_begin, self._loop, call)

    def close(self, last: Call[object]) -> None:
        """Run something last, then end the loop and the thread."""
        with self._lock:
            loop, thread, closed = self._loop, self._thread, self._closed
            self._closed = True
            if loop is None or thread is None or closed or not thread.is_alive():
                return
            loop.call_soon_threadsafe(_begin, loop, partial(_finish, last))
        # The garbage collector may be what closes a client, in any thread.
        if threading.current_thread() is not thread:
            thread.join(_END_S)

    def _begin(self, call: Call[T], begun: Future[Future[T]]) -> None:
        # Under the lock, so that what closes the loop comes after and finds it.
        with self._lock:
            loop = self._running()
            loop.call_soon_threadsafe(lambda: begun.set_result(_begin(loop, call)))

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise InputError(CLOSED)
        if self._thread is not None and not self._thread.is_alive():
            raise InputError(
                "the client was used before this process was forked; make one in each process"
            )
        if self._loop is None:
            loop = asyncio.new_event_loop()
            # Not waited for when the program ends: the client's finalizer ends it before.
            thread = threading.Thread(
                target=_serve, args=(loop,), name="bionemo-ext-client", daemon=True
            )
            thread.start()
            self._loop, self._thread = loop, thread
        return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _begin(loop: asyncio.AbstractEventLoop, call: Call[T]) -> Future[T]:
    """Begin a coroutine, in the thread of its loop.

    A caller's thread may be interrupted between the making of a coroutine and its start, which
    Python says in a warning; no signal comes to this one.
    """

    async def called() -> T:
        return await call()

    return asyncio.run_coroutine_threadsafe(called(), loop)


def _give_up(begun: Future[Future[T]]) -> None:
    if not begun.cancelled() and begun.exception() is None:
        begun.result().cancel()


async def _finish(last: Call[object]) -> None:
    """Give up everything else, run something last and stop the loop."""
    loop = asyncio.get_running_loop()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    try:
        await last()
        await loop.shutdown_asyncgens()
    finally:
        loop.stop()
