"""Real load: requests of one protein each over gRPC, by the project's own client.

The load runs in a thread with an event loop of its own, so that who measures may do so beside it.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client import AsyncClient
from bionemo_ext.contract import HOST
from bionemo_ext.errors import BionemoExtError

# Of a low-discrepancy sequence: any run of it is spread evenly (Kronecker, Weyl).
_GOLDEN = (5**0.5 - 1) / 2

# Asks for the protein at a place of 0 to 1 along the file, in a request that was due at a time.
Ask = Callable[[float, float], Awaitable[None]]


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of one request.

    Parameters
    ----------
    protein : int
        Which protein was asked for.
    due, came : float
        When the request was to be sent and when its answer was there, as ``time.perf_counter``
        counts. A load generator that is late itself adds to the latency so, and does not hide it.
    mean : ndarray
        [H].
    """

    protein: int
    due: float
    came: float
    mean: NDArray[np.float32]


@dataclass
class Outcome:
    """What has come of the load so far; grows while it runs."""

    asked: int = 0
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Pattern(Protocol):
    """When requests are sent."""

    async def run(self, ask: Ask, stop: threading.Event) -> None:
        """Send requests until ``stop`` is set, and wait for those under way."""


@dataclass(frozen=True)
class Closed:
    """So many requests at once: each answer is followed by the next request.

    Proteins follow each other so that any run of them has nearly the lengths of the whole file:
    steps of a few seconds are then alike.
    """

    at_once: int

    async def run(self, ask: Ask, stop: threading.Event) -> None:
        """As :meth:`Pattern.run`."""
        places = (number * _GOLDEN % 1 for number in itertools.count())

        async def one() -> None:
            while not stop.is_set():
                await ask(next(places), time.perf_counter())

        await asyncio.gather(*(one() for _ in range(self.at_once)))


@dataclass(frozen=True)
class Poisson:
    """Requests that come when they come, whatever is still unanswered; proteins at random.

    Parameters
    ----------
    per_s : float
        Requests a second on average.
    seed : int
        The same seed gives the same pauses and proteins.
    """

    per_s: float
    seed: int = 0

    async def run(self, ask: Ask, stop: threading.Event) -> None:
        """As :meth:`Pattern.run`."""
        async with asyncio.TaskGroup() as under_way:
            began = time.perf_counter()
            for offset, place in self.arrivals():
                due = began + offset
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if stop.is_set():
                    return
                under_way.create_task(ask(place, due))

    def arrivals(self) -> Iterator[tuple[float, float]]:
        """Seconds since the start, and the place of the protein, of one request after the other."""
        rng, offset = np.random.default_rng(self.seed), 0.0
        while True:
            offset += rng.exponential(1 / self.per_s)
            yield offset, rng.random()


@contextmanager
def load(urls: Sequence[str], proteins: Sequence[str], pattern: Pattern) -> Iterator[Outcome]:
    """Keep servers under load; where the block ends, what is under way is waited for.

    Parameters
    ----------
    urls : sequence of str
        The replicas, which the client takes turns among.
    proteins : sequence of str
        What is asked for.
    pattern : Pattern
        When.

    Yields
    ------
    Outcome
        It grows; a request that failed is in ``failures`` and does not end the load.
    """
    outcome, stop = Outcome(), threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="load") as thread:
        running = thread.submit(asyncio.run, _run(urls, proteins, pattern, outcome, stop))
        try:
            yield outcome
        finally:
            stop.set()
        running.result()


async def _run(
    urls: Sequence[str],
    proteins: Sequence[str],
    pattern: Pattern,
    outcome: Outcome,
    stop: threading.Event,
) -> None:
    async with AsyncClient(urls) as client:

        async def ask(place: float, due: float) -> None:
            protein = int(place * len(proteins))
            outcome.asked += 1
            try:
                found = await client.infer(HOST, [proteins[protein]], ["mean"])
            except BionemoExtError as error:
                outcome.failures.append(str(error))
                return
            came = time.perf_counter()
            outcome.answers.append(Answer(protein, due, came, found["mean"][0]))

        await pattern.run(ask, stop)
