"""Random numbers by counter: what stands at a place is a function of key and place alone.

SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) is a
mixing function over a counter, so a whole array of draws costs a few array operations, without a
generator for each sample. Numbers are unsigned and wrap at 2**64.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bits = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def words(values: ArrayLike) -> Bits:
    """Integers as an array of unsigned 64-bit words, of one axis at least."""
    if isinstance(values, int):
        values = values % 2**64
    return np.atleast_1d(np.asarray(values).astype(np.uint64))


def mix(bits: Bits) -> Bits:
    """Turn every word into one that looks random; different words stay different."""
    mixed = bits.copy()
    for shift, factor in _ROUNDS:
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def random_bits(keys: Bits, counters: ArrayLike) -> Bits:
    """The random word at place ``counters`` of the sequences that ``keys`` name."""
    return mix(keys + (words(counters) + np.uint64(1)) * _STEP)


def combine(*parts: ArrayLike) -> Bits:
    """One key of several numbers; another order of them is another key."""
    key = words(0)
    for part in parts:
        key = random_bits(key, part)
    return key


def uniform(bits: Bits) -> NDArray[np.float64]:
    """Numbers of [0, 1), of the 52 upper bits."""
    return (bits >> np.uint64(12)) * 2.0**-52


def below(bits: Bits, bounds: ArrayLike) -> NDArray[np.int64]:
    """Whole numbers of [0, bound), each as likely as any other (within bound / 2**52)."""
    return (uniform(bits) * np.asarray(bounds)).astype(np.int64)
