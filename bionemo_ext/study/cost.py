"""What embedding costs, measured alone in a process of its own."""

import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from bionemo_ext.study.sources import Source

# Enough for a rate, little beside the study.
_RESIDUES = 20_000


@dataclass(frozen=True)
class Cost:
    """Cost of a source.

    Parameters
    ----------
    parameters : int
        Numbers in the weights.
    residues_per_s : float
        Of the study's own proteins, on this machine, with all its cores.
    peak_mib : float
        Most memory that the process ever held, Python and libraries included.
    """

    parameters: int
    residues_per_s: float
    peak_mib: float


def measure(source: Source, sequences: Sequence[str]) -> Cost:
    """Embed some of the proteins, after a first few that do not count."""
    chosen: list[str] = []
    for sequence in sequences[:: max(1, len(sequences) // 200)]:
        chosen.append(sequence)
        if sum(map(len, chosen)) > _RESIDUES:
            break
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measure, source, chosen).result()


def _measure(source: Source, sequences: Sequence[str]) -> Cost:
    for _ in source.embed(sequences[:4]):
        pass
    began = time.perf_counter()
    for _ in source.embed(sequences):
        pass
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(source.parameters, sum(map(len, sequences)) / seconds, peak)
