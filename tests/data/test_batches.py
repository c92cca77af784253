"""Batches hold every sample as it is, and what they add counts nowhere."""

from functools import partial

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from bionemo_ext.data.batches import collate
from bionemo_ext.data.dataset import MaskedDataset, Sample
from bionemo_ext.data.store import SequenceStore
from bionemo_ext.sequences import ESM2

COUNT = 23
rng = np.random.default_rng(5)
SEQUENCES = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 20 + 2 * i)) for i in range(COUNT)]
STORE = SequenceStore.from_sequences(SEQUENCES)


def stream():
    return MaskedDataset(STORE, 3 * COUNT, 1, 30)


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("inputs", "labels", "chosen")
    )


@given(
    st.lists(st.integers(0, 3 * COUNT - 1), min_size=1, max_size=9),
    st.sampled_from([1, 8, 16, 64]),
    st.sampled_from([ESM2.pad_id, 0]),
)
def test_collate_pads_to_a_multiple_and_masks_what_it_adds(indices, multiple, pad_id):
    samples = [stream()[i] for i in indices]
    batch = collate(samples, pad_id, multiple)
    longest = max(len(sample.inputs) for sample in samples)
    width = batch["tokens"].shape[1]
    assert width % multiple == 0
    assert longest <= width < longest + multiple
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "tokens": torch.int64,
        "labels": torch.int64,
        "attention_mask": torch.int64,
        "loss_mask": torch.float32,
    }
    assert all(tensor.shape == (len(samples), width) for tensor in batch.values())
    for i, sample in enumerate(samples):
        row = {name: tensor[i].numpy() for name, tensor in batch.items()}
        length = len(sample.inputs)
        found = Sample(*(row[n][:length] for n in ("tokens", "labels")), row["loss_mask"][:length])
        assert same(found, sample)
        assert row["attention_mask"].tolist() == [1] * length + [0] * (width - length)
        assert (row["tokens"][length:] == pad_id).all()
        assert (row["labels"][length:] == pad_id).all()
        assert not row["loss_mask"][length:].any()


def test_batches_of_workers_are_collated_alike():
    make = partial(collate, pad_id=ESM2.pad_id)
    one, two = (
        list(DataLoader(stream(), batch_size=5, num_workers=n, collate_fn=make)) for n in (0, 2)
    )
    for a, b in zip(one, two, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
