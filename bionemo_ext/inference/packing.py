"""Packed batches: which sequences go together, and what came out of them.

Shapes: B sequences, T packed tokens, L residues of one sequence, H hidden.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """Hidden states of a packed batch.

    Parameters
    ----------
    hidden : Tensor
        [T, H], ``<cls>`` and ``<eos>`` of every sequence among them.
    offsets : tuple of int
        Sequence i is ``hidden[offsets[i]:offsets[i + 1]]``.
    """

    hidden: Tensor
    offsets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def at(self, places: Tensor) -> "Encoded":
        """Rows at some places, chosen by booleans [T]; the offsets count these."""
        ends = places.cumsum(0)[torch.tensor(self.offsets[1:]) - 1]
        return Encoded(self.hidden[places], (0, *ends.tolist()))

    def residues(self) -> list[Tensor]:
        """Hidden states of each sequence's residues, [L, H] in fp32."""
        pairs = zip(self.offsets, self.offsets[1:], strict=False)
        return [self.hidden[start + 1 : end - 1].float() for start, end in pairs]

    def cls(self) -> Tensor:
        """Hidden state of each ``<cls>``, [B, H] in fp32."""
        return self.hidden[list(self.offsets[:-1])].float()

    def mean(self) -> Tensor:
        """Mean over each sequence's residues, [B, H] in fp32."""
        return torch.stack([residues.mean(0) for residues in self.residues()])

    def max(self) -> Tensor:
        """Maximum over each sequence's residues, [B, H] in fp32."""
        return torch.stack([residues.amax(0) for residues in self.residues()])


def token_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Cut sequences into batches of at most ``max_tokens``, longest first.

    Yields
    ------
    list of int
        Indices into ``lengths``; a sequence over the limit is a batch of its own.
    """
    batch: list[int] = []
    total = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and total + lengths[index] > max_tokens:
            yield batch
            batch, total = [], 0
        batch.append(index)
        total += lengths[index]
    if batch:
        yield batch
