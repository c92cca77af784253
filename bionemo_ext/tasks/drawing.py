"""Sets drawn by the sequence's hash: the same on every machine, and copies stay together."""

import hashlib
from collections.abc import Sequence

from bionemo_ext.tasks.examples import Example


def draw(
    examples: Sequence[Example], fraction: float, seed: int, purpose: str
) -> tuple[list[Example], list[Example]]:
    """Set a share of the distinct sequences aside, at least one if there are two.

    Parameters
    ----------
    examples : sequence of Example
        In any order: the draw depends on the sequences alone.
    fraction : float
        The share, 0 to 1.
    seed : int
        Another draw.
    purpose : str
        What is drawn for, so that one draw does not follow from another.

    Returns
    -------
    kept, aside : list of Example
        In the order given.
    """
    ranked = sorted({e.sequence for e in examples}, key=lambda s: _digest(s, seed, purpose))
    count = max(round(fraction * len(ranked)), 1 if fraction > 0 else 0)
    chosen = set(ranked[: min(count, len(ranked) - 1)])
    kept = [e for e in examples if e.sequence not in chosen]
    return kept, [e for e in examples if e.sequence in chosen]


def _digest(sequence: str, seed: int, purpose: str) -> bytes:
    key = f"{purpose} {seed}".encode()
    return hashlib.blake2b(sequence.encode(), key=key, digest_size=16).digest()
