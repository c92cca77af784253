"""A shuffled order that is computed place by place, with nothing held in memory.

A Feistel network is a permutation whatever its round function is. Here both halves are digits in
base ``side`` with ``side**2`` barely above the size, so the few places that come out beyond the
size walk on (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
"""

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.data.counter import Bits, random_bits

_ROUNDS = 8


def shuffled(places: NDArray[np.int64], size: int, keys: Bits) -> NDArray[np.int64]:
    """What stands at ``places`` of the orders of ``range(size)`` that ``keys`` name.

    Parameters
    ----------
    places : array of int64
        From 0 to ``size - 1``, shape [B].
    size : int
        Numbers in the order.
    keys : array of uint64
        One key for all, or one a place; each key is an order of its own.

    Returns
    -------
    array of int64
        Shape [B]; all places of one key give every number once.
    """
    side = np.uint64(isqrt(max(size - 1, 0)) + 1)
    found = places.astype(np.uint64)
    keys = np.broadcast_to(keys, found.shape)
    walking = np.arange(len(found))
    while walking.size:
        found[walking] = _network(found[walking], side, keys[walking])
        walking = walking[found[walking] >= size]
    return found.astype(np.int64)


def _network(numbers: Bits, side: np.uint64, keys: Bits) -> Bits:
    high, low = np.divmod(numbers, side)
    for step in range(_ROUNDS):
        key = random_bits(keys, step)
        high, low = low, (high + random_bits(key, low) % side) % side
    return high * side + low
