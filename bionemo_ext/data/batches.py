"""Samples to batches of tensors, padded or packed.

Shapes: B sequences, S tokens of the longest, T tokens of all.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bionemo_ext.data.dataset import Sample

# The longest sequence of a packed batch is told rounded up: attention kernels plan for a length.
_LENGTH_STEP = 128


def collate(samples: Sequence[Sample], pad_id: int, multiple: int = 8) -> dict[str, Tensor]:
    """Pad samples to one length, a multiple of ``multiple``.

    Returns
    -------
    dict
        ``tokens``, ``labels``, ``attention_mask`` (int64) and ``loss_mask`` (fp32), each [B, S].
    """
    width = _round_up(max(len(s.inputs) for s in samples), multiple)
    batch = _empty((len(samples), width), pad_id)
    for i, sample in enumerate(samples):
        _write(batch, (i, slice(len(sample.inputs))), sample)
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def pack(samples: Sequence[Sample], pad_id: int, multiple: int = 16) -> dict[str, Tensor]:
    """Lay samples end to end, their number of tokens rounded up to a multiple of ``multiple``.

    What rounding adds is a sequence of its own, of padding.

    Returns
    -------
    dict
        ``tokens``, ``labels``, ``attention_mask`` (int64) and ``loss_mask`` (fp32), each [1, T];
        ``offsets`` (int32, [B + 1] or [B + 2]), where each sequence begins and, last, T; and
        ``longest`` (int64, []), an upper bound of the sequences' lengths.
    """
    ends = np.cumsum([len(sample.inputs) for sample in samples])
    total = _round_up(int(ends[-1]), multiple)
    batch = _empty((1, total), pad_id)
    for end, sample in zip(ends, samples, strict=True):
        _write(batch, (0, slice(end - len(sample.inputs), end)), sample)
    offsets = np.unique([0, *ends, total]).astype(np.int32)
    batch["offsets"] = offsets
    batch["longest"] = np.array(_round_up(int(np.diff(offsets).max()), _LENGTH_STEP))
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _empty(shape: tuple[int, int], pad_id: int) -> dict[str, np.ndarray]:
    return {
        "tokens": np.full(shape, pad_id, dtype=np.int64),
        "labels": np.full(shape, pad_id, dtype=np.int64),
        "attention_mask": np.zeros(shape, dtype=np.int64),
        "loss_mask": np.zeros(shape, dtype=np.float32),
    }


def _write(batch: dict[str, np.ndarray], where: tuple[int, slice], sample: Sample) -> None:
    batch["tokens"][where], batch["labels"][where] = sample.inputs, sample.labels
    batch["attention_mask"][where], batch["loss_mask"][where] = 1, sample.chosen
