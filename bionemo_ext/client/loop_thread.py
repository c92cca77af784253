"""An event loop in a thread of its own, which blocking callers hand coroutines to."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from bionemo_ext.client.truncation import told_here
from bionemo_ext.client.wire.connection import CLOSED, CLOSED_MEANWHILE
from bionemo_ext.errors import InputError, UnavailableError

T = TypeVar("T")

# How long the end of the program, or of the client, may take.
_END_S = 5.0


class LoopThread:
    """Starts with the first call; safe to use from several threads, even inside a running loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine; it is cancelled when the wait is broken off, as by Ctrl-C.

        Raises
        ------
        InputError
            If the client was closed before, or is that of a process that this one was forked from.
        UnavailableError
            If it is closed meanwhile.
        """
        with told_here():
            try:
                future = asyncio.run_coroutine_threadsafe(coroutine, self._running())
            except InputError:
                coroutine.close()
                raise
            try:
                return future.result()
            except CancelledError:
                raise UnavailableError(CLOSED_MEANWHILE) from None
            finally:
                future.cancel()

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Begin a coroutine that nobody waits for; nothing happens when the loop has ended."""
        with self._lock:
            if self._loop is None or self._closed:
                coroutine.close()
            else:
                asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self, last: Coroutine[Any, Any, object]) -> None:
        """Run a last coroutine, then end the loop and the thread."""
        with self._lock:
            loop, thread, closed = self._loop, self._thread, self._closed
            self._closed = True
        if loop is None or thread is None or closed or not thread.is_alive():
            last.close()
            return
        asyncio.run_coroutine_threadsafe(_finish(last), loop)
        # The garbage collector may be what closes a client, in any thread.
        if threading.current_thread() is not thread:
            thread.join(_END_S)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise InputError(CLOSED)
            if self._thread is not None and not self._thread.is_alive():
                raise InputError(
                    "the client was used before this process was forked; make one in each process"
                )
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # Not waited for when the program ends: the client's finalizer ends it before.
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="bionemo-ext-client", daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _finish(last: Coroutine[Any, Any, object]) -> None:
    """Give up everything else, run a last coroutine and stop the loop."""
    loop = asyncio.get_running_loop()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    try:
        await last
        await loop.shutdown_asyncgens()
    finally:
        loop.stop()
