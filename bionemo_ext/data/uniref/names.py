"""Names of sequences as 128-bit numbers, so that 190 million of them fit in memory.

Two different names give the same number with a chance below 1e-21 in UniRef90's size. Names whose
first 64 bits agree (one chance in a thousand there) are told apart by the other 64.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.data.counter import Bits, combine, mix

_WORD = 8
_FIRST_BYTES = np.array([2 ** (8 * n) - 1 for n in range(_WORD + 1)], dtype=np.uint64)
_TWO = combine(np.arange(2))  # where the two numbers of a name begin


def hash_spans(data: NDArray[np.uint8], starts: NDArray, stops: NDArray) -> Bits:
    """Numbers of the names ``data[starts:stops]``, shape [N, 2]."""
    lengths = stops - starts
    padded = np.concatenate([data, np.zeros(_WORD, np.uint8)])
    words = np.ndarray(len(data) + 1, "<u8", padded, strides=(1,))  # the word at every byte
    numbers = mix(_TWO ^ lengths.astype(np.uint64)[:, None])
    for done in range(0, int(lengths.max(initial=0)), _WORD):
        left = np.flatnonzero(lengths > done)
        word = words[starts[left] + done]
        word &= _FIRST_BYTES[np.minimum(lengths[left] - done, _WORD)]
        numbers[left] = mix(numbers[left] ^ word[:, None]) + _TWO
    return numbers


def hash_names(names: Sequence[bytes]) -> Bits:
    """Numbers of names, shape [N, 2]."""
    stops = np.cumsum([len(name) for name in names], dtype=np.int64)
    starts = np.concatenate(([0], stops))[:-1].astype(np.int64)
    return hash_spans(np.frombuffer(b"".join(names), np.uint8), starts, stops)


class NameIndex:
    """Which record has a name; of several, the first.

    Parameters
    ----------
    numbers : array of uint64
        What :func:`hash_names` made of the records' names, shape [N, 2].
    """

    def __init__(self, numbers: Bits) -> None:
        order = np.argsort(numbers[:, 0], kind="stable")
        self._order, self._numbers = order, numbers[order]
        first, same = self._numbers[:, 0], np.zeros(len(order), dtype=bool)
        same[1:] = first[1:] == first[:-1]
        # Mostly one: how many names may share their first number.
        runs = np.flatnonzero(~same)
        self._longest = int(np.diff(runs, append=len(order)).max(initial=1))

    def find(self, numbers: Bits) -> NDArray[np.int64]:
        """Records of names, -1 for a name that no record has; shape [N]."""
        found = np.full(len(numbers), -1, dtype=np.int64)
        if not len(self._order):
            return found
        place = np.searchsorted(self._numbers[:, 0], numbers[:, 0])
        for step in range(self._longest):
            at = np.minimum(place + step, len(self._order) - 1)
            hit = (self._numbers[at] == numbers).all(axis=1) & (found < 0)
            found[hit] = self._order[at[hit]]
        return found

    def repeats(self, numbers: Bits) -> NDArray[np.bool_]:
        """Which of the records, given again in order, have a name that an earlier one has."""
        if self._longest == 1:
            return np.zeros(len(numbers), dtype=bool)
        return self.find(numbers) != np.arange(len(numbers))
