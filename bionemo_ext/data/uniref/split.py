"""Sets of clusters that are set aside at random."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.errors import DataError


@dataclass(frozen=True)
class Share:
    """How many to set aside: below 1 a fraction, rounded down, from 1 on a number.

    Raises
    ------
    DataError
        If it is neither.
    """

    value: float

    def __post_init__(self) -> None:
        if not (0 < self.value < 1 or (self.value >= 1 and self.value == int(self.value))):
            raise DataError(f"{self.value} is neither a fraction between 0 and 1 nor a number")

    def of(self, count: int) -> int:
        """How many of ``count``; at least one."""
        return int(self.value) if self.value >= 1 else max(1, int(self.value * count))


def set_aside(
    candidates: NDArray[np.bool_], shares: list[Share], seed: int
) -> list[NDArray[np.bool_]]:
    """Draw disjoint sets from the candidates.

    Parameters
    ----------
    candidates : array of bool
        What may be drawn, shape [N].
    shares : list of Share
        How many for each set.
    seed : int
        Which.

    Returns
    -------
    list of array of bool
        One mask a share, shape [N].

    Raises
    ------
    DataError
        If nothing would be left.
    """
    numbers = np.flatnonzero(candidates)
    counts = [share.of(len(numbers)) for share in shares]
    if sum(counts) >= len(numbers):
        raise DataError(f"{len(numbers):,} clusters are too few to set {sum(counts):,} aside")
    order = np.random.default_rng([seed, len(numbers)]).permutation(numbers)
    masks, ends = [], np.cumsum(counts)
    for count, end in zip(counts, ends, strict=True):
        mask = np.zeros_like(candidates)
        mask[order[end - count : end]] = True
        masks.append(mask)
    return masks
