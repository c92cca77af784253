"""A build puts every record in its place, tells what it left out, and is whole or not there."""

import json
import os
import signal
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from megatron.core.datasets.indexed_dataset import IndexedDataset

from bionemo_ext.data.cluster_store import ClusterStore
from bionemo_ext.data.opening import open_data
from bionemo_ext.data.uniref import build, encoded
from bionemo_ext.data.uniref.esm1nv import TEST_SHARE, VALIDATION_SHARE, ESM1nvOptions, build_esm1nv
from bionemo_ext.data.uniref.split import Share, set_aside
from bionemo_ext.errors import DataError, RunError
from bionemo_ext.sequences import ESM1NV, ESM2


def letters(folder, part, alphabet=ESM2):
    """Sequences of a part in their order, as Megatron's own reader gives them."""
    indexed = IndexedDataset(str(folder / part))
    assert indexed.document_indices.tolist() == list(range(len(indexed) + 1))
    assert indexed.index.dtype is np.uint8
    return [alphabet.decode(indexed[i]) for i in range(len(indexed))]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_clusters_have_their_members_and_no_others(small_store, small_uniref):
    folder, described = small_store
    held = (folder / "validation_names.txt").read_text().split()
    assert len(set(held)) == 6
    assert letters(folder, "validation") == [small_uniref.sequences[name] for name in held]
    expected = {}
    for member, cluster in small_uniref.cluster_of.items():
        if cluster not in held:
            expected.setdefault(cluster, []).append(small_uniref.sequences[member])
    for i in range(0, 60, 4):  # those without a member stand for themselves
        name = f"UniRef50_{i}"
        if name not in held:
            expected[name] = [small_uniref.sequences[name]]
    train, store = letters(folder, "train"), ClusterStore(folder)
    clusters = [sorted(train[m] for m in store.members(i)) for i in range(len(store))]
    assert sorted(clusters) == sorted(map(sorted, expected.values()))
    assert len(clusters) == described["sets"]["train"]["clusters"] == 54
    assert sorted(train) == sorted(s for c in clusters for s in c)


def test_what_became_of_every_record_is_told(small_store):
    _, described = small_store
    u50, u90 = described["counts"]["uniref50"], described["counts"]["uniref90"]
    assert (u50["records"], u50["empty"], u50["repeated_names"]) == (61, 1, 1)
    assert u50["repeated_names"] + u50["validation"] + u50["train"] == u50["records"]
    assert (u90["records"], u90["empty"], u90["letters_to_x"]) == (92, 1, 1)
    assert (u90["repeated_names"], u90["without_cluster"]) == (1, 1)
    fates = ("repeated_names", "without_cluster", "of_validation_clusters", "of_removed_clusters",
             "removed_as_neighbour", "train")  # fmt: skip
    assert sum(u90[fate] for fate in fates) == u90["records"]
    sets = described["sets"]
    assert sets["train"]["sequences"] == u90["train"] + u50["train_by_representative_alone"]
    told = described["counts"]["membership"]
    assert told == {
        "shape": "a table with a UniRef50 and a UniRef90 column", "rows": 94,
        "unknown_member": 2, "unknown_cluster": 1, "second_cluster": 1,
    }  # fmt: skip
    assert described["seed"] == 42
    assert [s["role"] for s in described["sources"]] == ["UniRef50", "UniRef90", "membership"]


def test_the_same_build_gives_the_same_bytes_and_another_seed_another_split(
    small_store, build_small, tmp_path
):
    build_small(tmp_path / "again")
    assert content(tmp_path / "again") == content(small_store[0])
    build_small(tmp_path / "other", seed=1)
    names = "validation_names.txt"
    assert content(tmp_path / "other")[names] != content(small_store[0])[names]


def killed_at(bar_calls, build):
    """Run ``build`` in a process that kills itself at that call of its bars; whether it did."""
    child = os.fork()
    if child == 0:
        left = iter(range(bar_calls))

        @contextmanager
        def bar(what, total, unit):
            def advance(done):
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)

            advance(0)
            yield advance
            advance(0)

        try:
            build(bar)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_killed_build_is_never_taken_for_whole_and_goes_on(small_store, build_small, tmp_path):
    kills = 0
    while killed_at(kills, partial(build_small, out := tmp_path / f"at{kills}")):
        unfinished = tmp_path / f"at{kills}.partial"
        assert not out.exists()
        assert not list(unfinished.glob("store/store.json"))
        with pytest.raises(DataError, match=r"is a store that was not finished"):
            open_data(unfinished)
        build_small(out)
        assert content(out) == content(small_store[0])
        assert not unfinished.exists()
        kills += 1
    assert kills > 10
    assert out.is_dir()


def test_finished_steps_are_not_done_again(small_store, build_small, tmp_path, monkeypatch):
    calls = 0
    while not (tmp_path / "out.partial" / "neighbours.npz").exists():
        calls += 1
        assert killed_at(calls, partial(build_small, tmp_path / "out"))
    monkeypatch.setattr(encoded, "encode_fasta", None)
    monkeypatch.setattr(build, "_join", None)
    monkeypatch.setattr(build, "_search", None)
    build_small(tmp_path / "out")
    assert content(tmp_path / "out") == content(small_store[0])


def test_work_for_other_settings_is_thrown_away(small_store, build_small, tmp_path):
    assert killed_at(12, lambda bar: build_small(tmp_path / "out", bar, seed=1))
    assert (tmp_path / "out.partial").is_dir()
    build_small(tmp_path / "out")
    assert content(tmp_path / "out") == content(small_store[0])


def test_one_build_at_a_time(build_small, tmp_path):
    @contextmanager
    def bar(what, total, unit):
        with pytest.raises(RunError, match=r"^another process is building .*out$"):
            build_small(tmp_path / "out")
        yield lambda done: None

    build_small(tmp_path / "out", bar)


def test_what_is_there_is_left_alone(build_small, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"out is there already; remove it or choose another"):
        build_small(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_files_that_do_not_belong_together_are_refused(build_small, small_uniref, tmp_path):
    other = tmp_path / "other.fasta"
    other.write_text(">UniRef90_other\nMKT\n")
    options = {"uniref90": other}
    with pytest.raises(DataError, match=r"names no member of 1 UniRef90 sequences"):
        _build_with(small_uniref, tmp_path / "out", **options)
    with pytest.raises(DataError, match=r"there is no file .*nothing\.fasta"):
        _build_with(small_uniref, tmp_path / "out2", uniref50=tmp_path / "nothing.fasta")
    assert not (tmp_path / "out").exists()


def _build_with(small, out, **changed):
    files = {"uniref50": small.uniref50, "uniref90": small.uniref90, "members": small.members}
    options = build.UniRefOptions(**{**files, **changed}, out=out, search=build.Search.NONE)
    return build.build_uniref(options)


def test_the_esm1nv_set(small_uniref, tmp_path):
    options = ESM1nvOptions(small_uniref.uniref50, tmp_path / "out", 40, Share(3), Share(0.1))
    described = build_esm1nv(options)
    parts = {name: letters(tmp_path / "out", name, ESM1NV) for name in described["sets"]}
    short = [
        sequence
        for name, sequence in small_uniref.sequences.items()
        if name.startswith("UniRef50") and len(sequence) <= 40
    ]
    assert sorted(s for part in parts.values() for s in part) == sorted(short)
    assert (len(parts["validation"]), len(parts["test"])) == (3, len(short) // 10)
    counts = described["counts"]["uniref50"]
    fates = ("repeated_names", "too_long", "validation", "test", "train")
    assert sum(counts[fate] for fate in fates) == counts["records"] == 61
    train, validation = open_data(tmp_path / "out", alphabet=ESM1NV)
    assert (len(train), len(validation)) == (len(parts["train"]), 3)
    assert json.loads((tmp_path / "out" / "store.json").read_text()) == described


def test_the_shares_of_the_cards():
    card = 45_100_000 + 875_000 + 4_350
    assert round(Share(VALIDATION_SHARE).of(card), -1) == 4_350
    assert round(Share(TEST_SHARE).of(card), -1) == 875_000
    assert Share(0.005).of(49_874_565) == 249_372


def test_sets_aside_are_disjoint_and_each_candidate_may_be_in_them():
    candidates = np.arange(40) % 4 > 0
    found = np.zeros((2, 40), dtype=int)
    for seed in range(300):
        masks = set_aside(candidates, [Share(3), Share(0.2)], seed)
        assert [int(mask.sum()) for mask in masks] == [3, 6]
        assert not (masks[0] & masks[1]).any()
        found += masks
    assert not found[:, ~candidates].any()
    assert (found[:, candidates] > 0).all()


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan")])
def test_a_share_is_a_fraction_or_a_number(value):
    with pytest.raises(DataError, match="is neither a fraction between 0 and 1 nor a number"):
        Share(value)


def test_too_few_clusters_are_refused():
    with pytest.raises(DataError, match=r"^3 clusters are too few to set 3 aside$"):
        set_aside(np.ones(3, dtype=bool), [Share(3)], 1)
