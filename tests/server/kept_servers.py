"""Servers that many tests share, mended where the machine stood still.

A worker that did not run for most of a second ends (``bionemo_ext/serving/pulse.py``), and a
LocalServer does not start it again. Here a thread does, as ``bionemo-ext serve`` would, so that who
tries again has an answer. A test that fails while one of these servers loses a worker is run
again, twice at most (``LostWorkerError`` and ``--only-rerun`` in pyproject.toml), and the summary
of the tests names it: one that is named often has met something else than a pause. A server that
ended as a whole is no such case.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bionemo_ext.errors import RunError
from bionemo_ext.serving import LocalServer

_LOOK_EVERY_S = 1.0
_KEPT: list["_Kept"] = []
_LOST: list[str] = []


class LostWorkerError(Exception):
    """A test failed while a server that it shares was without a worker."""


class _Kept:
    """A server and who watches it."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self._one_at_a_time = threading.Lock()
        self._over = threading.Event()
        # A server ends with the thread that started it: this one stays as long as it is needed.
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def mend(self) -> None:
        """Start the server again if it lost a worker, or could not start."""
        with self._one_at_a_time:
            try:
                self.server.check()
                if self.server.pid is not None:
                    return
            except RunError as error:
                if self.server.pid is not None:
                    self._lost(error)
            try:
                self.server.restart()
            except (
                RunError
            ) as error:  # the machine stood still once more: the next look tries again
                self._lost(error)

    def _lost(self, error: RunError) -> None:
        _LOST.append("\n".join([str(error), *self.server.log]))

    def end(self) -> None:
        """Watch no more."""
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            self.mend()


@contextmanager
def kept(server: LocalServer) -> Iterator[LocalServer]:
    """Run a server for many tests."""
    with server:
        one = _Kept(server)
        _KEPT.append(one)
        try:
            yield server
        finally:
            _KEPT.remove(one)
            one.end()


def mend() -> None:
    """Start those servers again that lost a worker."""
    for one in _KEPT:
        one.mend()


@contextmanager
def blaming_lost_workers() -> Iterator[None]:
    """Say so if something fails while a worker is lost.

    Raises
    ------
    LostWorkerError
        From what was raised.
    """
    before = len(_LOST)
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        mend()  # the watcher may not have looked yet
        if _LOST[before:]:
            raise LostWorkerError("\n".join(_LOST[before:])) from error
        raise


def logs() -> list[tuple[str, str]]:
    """What those servers said last, with a title each."""
    servers = [one.server for one in _KEPT]
    return [(f"log of the server at {one.url}", "\n".join(one.log)) for one in servers if one.log]
