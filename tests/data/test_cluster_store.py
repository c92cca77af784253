"""Draws from a store on disk: uniform, and the same for any workers and resume."""

import copy
import multiprocessing
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from megatron.core.datasets.indexed_dataset import IndexedDataset
from scipy.stats import chi2
from torch.utils.data import DataLoader, Subset

from bionemo_ext.data.cluster_store import ClusterStore
from bionemo_ext.data.counter import combine
from bionemo_ext.data.dataset import MaskedDataset
from bionemo_ext.data.store import Crop
from bionemo_ext.errors import DataError
from bionemo_ext.sequences import ESM2

LIMIT, LENGTH = 30, 200


@pytest.fixture(scope="module")
def store(small_store):
    return ClusterStore(small_store[0])


def stream(store, **options):
    return MaskedDataset(store, LENGTH, 7, LIMIT, **options)


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("inputs", "labels", "chosen")
    )


@given(data=st.data())
def test_reads_are_what_megatron_reads(small_store, store, data):
    indexed = IndexedDataset(str(small_store[0] / "train"))
    assert len(store.sequences) == len(indexed)
    number = st.integers(0, len(indexed) - 1)
    records = np.array(data.draw(st.lists(number, min_size=1, max_size=9)))
    assert store.lengths(records).tolist() == [len(indexed[int(r)]) for r in records]
    starts = np.array([data.draw(st.integers(0, len(indexed[int(r)]))) for r in records])
    counts = store.lengths(records) - starts
    for record, start, part in zip(
        records, starts, store.read(records, starts, counts), strict=True
    ):
        np.testing.assert_array_equal(part, indexed[int(record)][start:])


def test_members_of_every_cluster_are_drawn_uniformly(store):
    """Chi-square of each cluster's members over 3,000 draws, all clusters added up."""
    draws, statistic, freedom = 3000, 0.0, 0
    clusters = np.arange(len(store))
    drawn = [store.draw(clusters, combine(1, i, clusters)) for i in range(draws)]
    for cluster, records in enumerate(np.stack(drawn, axis=1)):
        members = store.members(cluster)
        assert set(records) == set(members)
        seen = np.array([(records == member).sum() for member in members])
        expected = draws / len(members)
        statistic += ((seen - expected) ** 2 / expected).sum()
        freedom += len(members) - 1
    assert freedom == len(store.sequences) - len(store)
    assert 0.001 < chi2.sf(statistic, freedom) < 0.999


def test_an_epoch_visits_each_cluster_once_through_members_that_change(store, small_store):
    indexed = IndexedDataset(str(small_store[0] / "train"))
    whole = MaskedDataset(store, 400 * len(store), 3, 10_000)
    cluster_of = {}
    for cluster in range(len(store)):
        for member in store.members(cluster):
            cluster_of[ESM2.decode(indexed[int(member)])] = cluster
    seen = {}
    for epoch in range(400):
        samples = whole.__getitems__(range(epoch * len(store), (epoch + 1) * len(store)))
        sequences = [ESM2.decode(sample.labels) for sample in samples]
        assert sorted(cluster_of[s] for s in sequences) == list(range(len(store)))
        for sequence in sequences:
            seen[sequence] = seen.get(sequence, 0) + 1
    statistic = freedom = 0
    for cluster in range(len(store)):
        counts = np.array([seen[s] for s, c in cluster_of.items() if c == cluster])
        assert counts.sum() == 400
        statistic += ((counts - 400 / len(counts)) ** 2 / (400 / len(counts))).sum()
        freedom += len(counts) - 1
    assert 0.001 < chi2.sf(statistic, freedom) < 0.999


@pytest.mark.parametrize("crop", Crop)
@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_any_workers_and_a_resume_anywhere_give_one_stream(store, workers, crop):
    dataset = stream(store, crop=crop)
    expected = [dataset[i] for i in range(LENGTH)]
    for begin in (0, 1, 57, LENGTH - 3):
        rest = Subset(dataset, range(begin, LENGTH))
        loader = DataLoader(rest, batch_size=7, num_workers=workers, collate_fn=list)
        found = [sample for batch in loader for sample in batch]
        assert len(found) == LENGTH - begin
        assert all(same(a, b) for a, b in zip(found, expected[begin:], strict=True))


def test_processes_that_are_not_forked_read_the_same(store):
    loader = DataLoader(
        stream(store), batch_size=50, num_workers=1, collate_fn=list,
        multiprocessing_context=multiprocessing.get_context("spawn"),
    )  # fmt: skip
    found = [sample for batch in loader for sample in batch]
    assert all(same(a, b) for a, b in zip(found, stream(store), strict=True))


def test_copies_are_small(store):
    assert len(pickle.dumps(store)) < 1000
    again = copy.deepcopy(store)
    assert same(stream(again)[5], stream(store)[5])


def test_a_validation_set_is_read_in_its_order(small_store, small_uniref):
    store = ClusterStore(small_store[0], "validation")
    fixed = MaskedDataset(store, len(store), 1, 10_000, fixed=True)
    names = (small_store[0] / "validation_names.txt").read_text().split()
    assert [ESM2.decode(s.labels) for s in fixed] == [small_uniref.sequences[n] for n in names]


def test_there_is_no_such_part(small_store):
    with pytest.raises(DataError, match=r"has no test set, only train, validation$"):
        ClusterStore(small_store[0], "test")


@pytest.mark.parametrize(
    "name", ["train.bin", "train.idx", "train_offsets.npy", "train_members.npy"]
)
def test_a_damaged_store_is_refused(small_store, tmp_path, name):
    folder = tmp_path / "copy"
    shutil.copytree(small_store[0], folder)
    ClusterStore(folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1])
    with pytest.raises(DataError, match=rf"{name} has {len(whole) - 1:,} bytes instead of"):
        ClusterStore(folder)
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing; build the store again"):
        ClusterStore(folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not the description of a sequence store"),
        ("[]", "is not the description of a sequence store"),
        ('{"format": 9, "files": {}}', "has format 9, but this version reads format 1"),
        ('{"format": 1, "files": {}, "sets": {"train": {}}}', "neither ESM-2 nor ESM-1nv"),
    ],
)
def test_another_description_is_refused(tmp_path, text, sentence):
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        ClusterStore(tmp_path)
