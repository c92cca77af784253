"""Masked batches of real proteins on the device, padded to one length or packed.

Letters: B sequences, S tokens of a row, T tokens of all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bionemo_ext.data.batches import collate, pack
from bionemo_ext.data.dataset import MaskedDataset, Sample
from bionemo_ext.data.store import Crop, SequenceStore
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.models.packing import Packing
from bionemo_ext.sequences import ESM2

_ENDLESS = 10**9
# FP8's matrix products and the 128-token blocks of attention kernels divide such a number.
_PACKED_MULTIPLE = 128


@dataclass(frozen=True)
class Batch:
    """One micro-batch.

    Parameters
    ----------
    tensors : dict
        ``tokens``, ``labels``, ``attention_mask``, ``loss_mask``, each [B, S] or [1, T].
    packing : Packing or None
        Where packed sequences begin.
    tokens : int
        Real ones, without padding.
    places : int
        B x S, or T.
    squared_lengths : float
        Sum of the squared lengths of the real sequences.
    """

    tensors: dict[str, Tensor]
    packing: Packing | None
    tokens: int
    places: int
    squared_lengths: float


def stream(fasta: Path, length: int, *, seed: int = 1) -> MaskedDataset:
    """Endless masked samples of at most ``length`` tokens."""
    store = SequenceStore.from_fasta(fasta)
    return MaskedDataset(store, _ENDLESS, seed, length - 2, Crop.RANDOM)


def micro_batches(
    dataset: MaskedDataset, budget: int, length: int, device: torch.device, *, packed: bool
) -> Iterator[Batch]:
    """Batches of at most ``budget`` tokens (padding counted), in the stream's order.

    Parameters
    ----------
    dataset : MaskedDataset
        Samples of at most ``length`` tokens.
    budget : int
        At least ``length``.
    length : int
        What padded rows are padded to.
    device : torch.device
        Where the batches go.
    packed : bool
        End to end rather than padded.
    """
    index = 0
    while True:
        samples: list[Sample] = []
        if packed:
            total = 0
            while total + len((sample := dataset[index]).inputs) <= budget:
                samples.append(sample)
                total += len(sample.inputs)
                index += 1
            tensors = pack(samples, ESM2.pad_id, _PACKED_MULTIPLE)
        else:
            rows = budget // length
            samples = dataset.__getitems__(range(index, index + rows))
            index += rows
            tensors = collate(samples, ESM2.pad_id, length)
        yield on_device(tensors, device)


def on_device(tensors: dict[str, Tensor], device: torch.device) -> Batch:
    """Take what ``collate`` or ``pack`` gives to the device."""
    longest, mask = tensors.pop("longest", None), tensors["attention_mask"]
    if longest is None:
        lengths = mask.sum(-1).double()
    else:  # what packing was rounded up with is a sequence of no real tokens
        ends = torch.nn.functional.pad(mask[0].cumsum(0), (1, 0))[tensors["offsets"].long()]
        lengths = ends.diff().double()
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
    offsets, places = moved.pop("offsets", None), mask.numel()
    packing = None if offsets is None else Packing(offsets, int(longest), places)
    return Batch(moved, packing, int(lengths.sum()), places, float(lengths.square().sum()))


def mean_loss(model: torch.nn.Module, batch: Batch) -> Tensor:
    """Mean loss of the tokens that count."""
    t = batch.tensors
    losses = model(t["tokens"], t["attention_mask"], t["labels"], batch.packing)
    return (losses.float() * t["loss_mask"]).sum() / t["loss_mask"].sum()


@torch.no_grad()
def real_logits(model: ESM2Model, batch: Batch) -> Tensor:
    """Logits of the real tokens, [real tokens, vocabulary] in fp32, in the order of the batch."""
    t = batch.tensors
    logits = model(t["tokens"], t["attention_mask"], packing=batch.packing)
    return logits[t["attention_mask"].bool()][:, : len(ESM2)].float()
