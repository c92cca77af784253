"""One key opens a FASTA file, a folder of them, or a store."""

import pytest

from bionemo_ext.data.cluster_store import ClusterStore
from bionemo_ext.data.opening import check_data, open_data
from bionemo_ext.data.store import SequenceStore
from bionemo_ext.errors import DataError
from bionemo_ext.sequences import ESM1NV


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    path = tmp_path_factory.mktemp("fasta") / "x.fasta"
    path.write_text("".join(f">p{i}\n{'MKTAYIAK' * (i + 1)}\n" for i in range(20)))
    return path


@pytest.mark.parametrize("alphabet", [{}, {"alphabet": ESM1NV}])
def test_fasta_is_split_at_random(fasta, alphabet):
    expected = SequenceStore.from_fasta(fasta).split(0.2, 5)
    for path in (fasta, fasta.parent):
        found = open_data(path, fraction=0.2, seed=5, **alphabet)
        assert [store.offsets.tolist() for store in found] == [s.offsets.tolist() for s in expected]
        assert {s.alphabet for s in found} == {alphabet.get("alphabet", expected[0].alphabet)}


def test_a_store_has_its_own_validation_set(small_store):
    train, validation = open_data(small_store[0])
    assert [type(s) for s in (train, validation)] == [ClusterStore, ClusterStore]
    assert (train.part, validation.part) == ("train", "validation")
    assert (len(train), len(validation)) == (54, 6)


def test_any_pair_goes_together(small_store, fasta):
    train, validation = open_data(small_store[0], fasta)
    assert (len(train), len(validation)) == (54, 20)
    train, validation = open_data(fasta, small_store[0])
    assert (len(train), len(validation)) == (20, 6)


def test_a_store_of_another_alphabet_is_refused(small_store, fasta):
    sentence = r"holds token ids of ESM-2, but the model reads those of ESM-1nv; build a store"
    for paths in [(small_store[0],), (fasta, small_store[0])]:
        with pytest.raises(DataError, match=sentence):
            open_data(*paths, alphabet=ESM1NV)
    with pytest.raises(DataError, match=sentence):
        check_data(small_store[0], ESM1NV)


def test_only_a_look_is_taken_at_fasta(tmp_path):
    (tmp_path / "x.fasta").write_text("not FASTA")
    check_data(tmp_path)
    check_data(tmp_path / "x.fasta")
