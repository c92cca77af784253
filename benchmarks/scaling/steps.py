"""One step of a measurement, and what follows from several."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.scaling.load import Closed, Pattern, load
from benchmarks.scaling.watch import Seen, Watch
from bionemo_ext.errors import RunError
from bionemo_ext.serving import LocalServer

# Of a step before it is watched, so that queues are as they will be.
WARM_UP = 0.25
# A step this near to the best is as good.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Step(Seen):
    """A load, and what servers and clients saw of it.

    Parameters
    ----------
    replicas : int
        Servers under load.
    load : float
        Requests at once of :class:`Closed`, requests a second of :class:`Poisson`.
    p50_ms, p99_ms : float
        Latency of the answers that came while the servers were watched.
    """

    replicas: int
    load: float
    p50_ms: float
    p99_ms: float


def measure(
    servers: Sequence[LocalServer], proteins: Sequence[str], pattern: Pattern, seconds: float
) -> Step:
    """Put servers under load and watch them.

    Parameters
    ----------
    servers : sequence of LocalServer
        They run.
    proteins : sequence of str
        What is asked for.
    pattern : Closed or Poisson
        How.
    seconds : float
        To watch, after a quarter of that as warm-up; longer where passes take long.

    Raises
    ------
    RunError
        If a request failed, or the time was far too short.
    """
    with load([server.url for server in servers], proteins, pattern) as outcome:
        time.sleep(WARM_UP * seconds)
        with Watch(servers, seconds) as watch:
            watch.wait()
    if outcome.failures:
        raise RunError(f"{len(outcome.failures)} requests failed: {outcome.failures[0]}")
    taken = [a.came - a.due for a in outcome.answers if watch.began <= a.came <= watch.ended]
    p50, p99 = (1e3 * np.percentile(taken, (50, 99))).tolist() if taken else (np.nan, np.nan)
    size = pattern.at_once if isinstance(pattern, Closed) else pattern.per_s
    return Step(replicas=len(servers), load=size, p50_ms=p50, p99_ms=p99, **asdict(watch.seen()))


@dataclass(frozen=True)
class Saturation:
    """Where more requests at once bring no more answers.

    Parameters
    ----------
    at_once : int
        The fewest requests at once whose rate is within 5% of the highest.
    proteins_per_s, residues_per_s : float
        Medians over the steps from there on.
    """

    at_once: int
    proteins_per_s: float
    residues_per_s: float


def saturation(steps: Sequence[Step]) -> Saturation:
    """Find the saturation of steps under more and more requests at once."""
    ordered = sorted(steps, key=lambda step: step.load)
    enough = (1 - TOLERANCE) * max(step.residues_per_s for step in ordered)
    first = next(i for i, step in enumerate(ordered) if step.residues_per_s >= enough)
    return Saturation(
        int(ordered[first].load),
        statistics.median(step.proteins_per_s for step in ordered[first:]),
        statistics.median(step.residues_per_s for step in ordered[first:]),
    )


def speed_ups(pairs: Sequence[tuple[Step, Step]]) -> list[float]:
    """Residues a second of two replicas by those of one, for each pair that was taken in turns."""
    return [two.residues_per_s / one.residues_per_s for one, two in pairs]
