"""Samples to batches of tensors. Shapes: B sequences, S tokens of the longest."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bionemo_ext.data.dataset import Sample


def collate(samples: Sequence[Sample], pad_id: int, multiple: int = 8) -> dict[str, Tensor]:
    """Pad samples to one length, a multiple of ``multiple``.

    Returns
    -------
    dict
        ``tokens``, ``labels``, ``attention_mask`` (int64) and ``loss_mask`` (fp32), each [B, S].
    """
    longest = max(len(s.inputs) for s in samples)
    width = -(-longest // multiple) * multiple
    tokens = np.full((len(samples), width), pad_id, dtype=np.int64)
    labels, attention = tokens.copy(), np.zeros_like(tokens)
    loss = np.zeros(tokens.shape, dtype=np.float32)
    for i, sample in enumerate(samples):
        length = len(sample.inputs)
        tokens[i, :length], labels[i, :length] = sample.inputs, sample.labels
        attention[i, :length], loss[i, :length] = 1, sample.chosen
    arrays = {"tokens": tokens, "labels": labels, "attention_mask": attention, "loss_mask": loss}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
