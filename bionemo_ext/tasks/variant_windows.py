"""How a protein over the model's limit is seen: through windows of that size.

The sites of a variant are seen from the window around their middle, so far as the protein's ends
allow; a site of a pass without masks from that of the overlapping windows in which it is furthest
from an end.

Letters: L residues, V tokens of the alphabet.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.sequences import Alphabet, windows

Array = NDArray[np.float32]


class MaskedModel(Protocol):
    """What gives logits: an encoder here, or a server."""

    alphabet: Alphabet
    max_residues: int

    def logits(self, sequences: Iterable[str]) -> Iterator[Array]:
        """Scores of the alphabet's tokens at the residues of each sequence, [L, V], in order."""

    def masked_logits(self, sequences: Iterable[str]) -> Iterator[Array]:
        """The same at the masks alone, [K, V], of sequences in which ``#`` stands for a mask."""


def window(sequence: str, first: int, last: int, limit: int) -> tuple[str, int]:
    """Cut the window around the middle of two sites, and tell where it starts.

    Parameters
    ----------
    sequence : str
        The protein; as it is where it fits.
    first, last : int
        Sites, from 0, less than ``limit`` apart.
    limit : int
        Residues that the model sees at once.
    """
    if len(sequence) <= limit:
        return sequence, 0
    start = min(max(0, (first + last + 1) // 2 - limit // 2), len(sequence) - limit)
    return sequence[start : start + limit], start


def unmasked_logits(model: MaskedModel, sequences: Iterable[str]) -> Iterator[Array]:
    """Logits at every residue of each sequence, [L, V], from where it is furthest from an end."""
    asked: deque[tuple[int, list[tuple[int, int]]]] = deque()

    def pieces() -> Iterator[str]:
        for sequence in sequences:
            spans = [(0, len(sequence))]
            if len(sequence) > model.max_residues:
                spans = list(windows(len(sequence), model.max_residues))
            asked.append((len(sequence), spans))  # the model reads ahead of its answers
            yield from (sequence[start:end] for start, end in spans)

    parts = model.logits(pieces())
    for first in parts:
        length, spans = asked.popleft()
        if len(spans) == 1:
            yield first
        else:
            yield _joined(length, spans, [first, *islice(parts, len(spans) - 1)])


def _joined(length: int, spans: Sequence[tuple[int, int]], parts: Sequence[Array]) -> Array:
    found = np.zeros((length, parts[0].shape[1]), dtype=np.float32)
    margin = np.full(length, -1)
    for (start, end), part in zip(spans, parts, strict=True):
        places = np.arange(start, end)
        # The protein's own ends are no ends of what the model could see.
        left = places - start if start else np.full(end - start, length)
        right = end - 1 - places if end < length else np.full(end - start, length)
        inner = np.minimum(left, right)
        better = inner > margin[start:end]
        found[start:end][better] = part[better]
        margin[start:end] = np.maximum(margin[start:end], inner)
    return found
