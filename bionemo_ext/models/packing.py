"""Sequences laid end to end, so that no token is padding.

Shapes: B sequences, T tokens of all sequences.
"""

from dataclasses import dataclass

import torch
from megatron.core.packed_seq_params import PackedSeqParams
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where each of the sequences in a row of T tokens begins.

    Parameters
    ----------
    offsets : Tensor
        Token that a sequence begins at and, last, T; int32, [B + 1].
    longest : int
        Upper bound of the sequences' lengths.
    total : int
        T.
    """

    offsets: Tensor
    longest: int
    total: int

    @property
    def positions(self) -> Tensor:
        """Place of each token in its own sequence, [T]."""
        places = torch.arange(self.total, device=self.offsets.device)
        return places - self.spread(self.offsets[:-1])

    def spread(self, values: Tensor) -> Tensor:
        """Give each token its sequence's value: [B] to [T]."""
        return values.repeat_interleave(self.offsets.diff(), output_size=self.total)

    def sums(self, values: Tensor) -> Tensor:
        """Sum each sequence's tokens' values: [T] to [B]."""
        running = torch.nn.functional.pad(values.cumsum(0), (1, 0))
        return running[self.offsets].diff()

    def megatron(self) -> PackedSeqParams:
        """What Megatron's attention is told."""
        return PackedSeqParams(
            qkv_format="thd",
            cu_seqlens_q=self.offsets,
            cu_seqlens_kv=self.offsets,
            max_seqlen_q=self.longest,
            max_seqlen_kv=self.longest,
        )
