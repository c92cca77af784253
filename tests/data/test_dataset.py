"""The training stream is a function of (seed, epoch, index), whoever reads it and in what order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from bionemo_ext.data.dataset import MaskedDataset
from bionemo_ext.data.masking import MaskingPolicy
from bionemo_ext.data.store import Crop, SequenceStore
from bionemo_ext.sequences import ESM1NV, ESM2

COUNT, LIMIT = 23, 30
rng = np.random.default_rng(5)
SEQUENCES = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 20 + 2 * i)) for i in range(COUNT)]
STORE = SequenceStore.from_sequences(SEQUENCES)


def stream(length=3 * COUNT, seed=1, **options):
    return MaskedDataset(STORE, length, seed, LIMIT, **options)


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("inputs", "labels", "chosen")
    )


def residues(sample):
    return ESM2.decode(sample.labels)


@given(st.lists(st.integers(0, 3 * COUNT - 1), min_size=1, max_size=40), st.integers(0, 2**32))
def test_a_sample_is_the_same_in_any_order(indices, seed):
    forth = [stream(seed=seed)[i] for i in indices]
    back = [stream(seed=seed)[i] for i in reversed(indices)]
    assert all(same(a, b) for a, b in zip(forth, reversed(back), strict=True))


@given(st.lists(st.integers(0, 3 * COUNT - 1), max_size=40), st.booleans(), st.sampled_from(Crop))
def test_samples_asked_for_together_are_those_asked_for_alone(indices, fixed, crop):
    dataset = stream(fixed=fixed, crop=crop)
    together = dataset.__getitems__(indices)
    assert all(same(a, dataset[i]) for a, i in zip(together, indices, strict=True))


def test_many_samples_at_once():
    dataset = stream(length=1000)
    together = dataset.__getitems__(range(1000))
    assert all(same(a, dataset[i]) for i, a in enumerate(together))


@pytest.mark.parametrize("index", [-1, 3 * COUNT])
def test_there_are_no_samples_beyond_the_stream(index):
    with pytest.raises(IndexError, match=r"^there are samples 0 to 68$"):
        stream()[index]


@pytest.mark.parametrize("crop", Crop)
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_same_batches(workers, crop):
    dataset = stream(crop=crop)
    expected = [dataset[i] for i in range(len(dataset))]
    loader = DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=list)
    found = [sample for batch in loader for sample in batch]
    assert len(found) == len(expected) == 3 * COUNT
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


@given(st.integers(0, 2**32))
def test_an_epoch_visits_every_record_once_and_each_epoch_in_its_own_order(seed):
    orders = []
    for epoch in range(3):
        samples = stream(seed=seed).__getitems__(range(epoch * COUNT, (epoch + 1) * COUNT))
        orders.append([residues(sample) for sample in samples])
    for order in orders:
        assert sorted(order) == sorted(sequence[:LIMIT] for sequence in SEQUENCES)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_epochs_and_seeds_mask_anew():
    chosen = {}
    for seed in range(3):
        for i in range(3 * COUNT):
            sample = stream(seed=seed)[i]
            key = (residues(sample), seed, i // COUNT)
            chosen[key] = tuple(np.flatnonzero(sample.chosen))
    for sequence in SEQUENCES:
        masks = [chosen[sequence[:LIMIT], seed, epoch] for seed in range(3) for epoch in range(3)]
        assert len(set(masks)) >= 8  # of nine, where two of the same places would be rare


@given(st.integers(0, 3 * COUNT - 1), st.booleans(), st.sampled_from(Crop))
def test_labels_are_the_originals_and_special_tokens_are_never_chosen(index, fixed, crop):
    sample = stream(fixed=fixed, crop=crop)[index]
    assert any(residues(sample) in sequence for sequence in SEQUENCES)
    assert (sample.labels[0], sample.labels[-1]) == (ESM2.bos_id, ESM2.eos_id)
    assert not sample.chosen[[0, -1]].any()
    if not (fixed and index >= COUNT):
        np.testing.assert_array_equal(sample.inputs[~sample.chosen], sample.labels[~sample.chosen])


def test_a_fixed_set_has_one_mask_and_counts_each_record_once():
    dataset = stream(fixed=True)
    first = [dataset[i] for i in range(COUNT)]
    assert [residues(sample) for sample in first] == [sequence[:LIMIT] for sequence in SEQUENCES]
    assert all(sample.chosen.any() for sample in first)
    for i in range(COUNT, 3 * COUNT):
        again = dataset[i]
        assert not again.chosen.any()
        np.testing.assert_array_equal(again.inputs, first[i % COUNT].inputs)
    assert not all(same(a, stream(seed=2, fixed=True)[i]) for i, a in enumerate(first))


def test_a_crop_at_the_start_keeps_the_start():
    for i in range(COUNT):
        sample = stream(fixed=True)[i]
        assert residues(sample) == SEQUENCES[i][:LIMIT]


def test_a_random_crop_reaches_every_place():
    last = SEQUENCES[-1]  # 64 residues: 35 places to begin at
    dataset = MaskedDataset(SequenceStore.from_sequences([last]), 2000, 1, LIMIT, Crop.RANDOM)
    starts = Counter(last.index(residues(s)) for s in dataset.__getitems__(range(2000)))
    assert set(starts) == set(range(len(last) - LIMIT + 1))
    assert max(starts.values()) < 3 * min(starts.values()) + 30
    short = MaskedDataset(SequenceStore.from_sequences(["MKT"]), 5, 1, LIMIT, Crop.RANDOM)
    assert {residues(short[i]) for i in range(5)} == {"MKT"}


def test_the_alphabet_and_the_policy_reach_the_samples():
    store = SequenceStore.from_sequences(SEQUENCES, ESM1NV)
    policy = MaskingPolicy(chosen=1.0, masked=1.0, random=0.0)
    sample = MaskedDataset(store, 1, 1, LIMIT, policy=policy)[0]
    assert (sample.inputs[0], sample.inputs[-1]) == (ESM1NV.bos_id, ESM1NV.eos_id)
    assert (sample.inputs[1:-1] == ESM1NV.mask_id).all()
    assert ESM1NV.decode(sample.labels) in {sequence[:LIMIT] for sequence in SEQUENCES}
