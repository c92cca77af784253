"""Sequences in a store come back as they were; splits lose and repeat nothing."""

import gzip
import lzma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.data.store import SequenceStore
from bionemo_ext.errors import DataError, FastaError, SequenceError
from bionemo_ext.sequences import ESM1NV, ESM2, read_fasta

proteins = st.lists(st.text(ESM1NV.residues, min_size=1, max_size=40), max_size=30)


def letters(store):
    return [store.alphabet.decode(store[i]) for i in range(len(store))]


@pytest.mark.parametrize("alphabet", [ESM2, ESM1NV], ids=lambda a: a.name)
@given(sequences=proteins)
def test_a_store_gives_back_what_it_holds(alphabet, sequences):
    store = SequenceStore.from_sequences(iter(sequences), alphabet)
    assert letters(store) == sequences
    assert store.ids.nbytes == sum(map(len, sequences))


@given(proteins.filter(bool), st.data())
def test_select_takes_in_the_given_order(sequences, data):
    indices = data.draw(st.lists(st.integers(0, len(sequences) - 1)))
    store = SequenceStore.from_sequences(sequences)
    assert letters(store.select(np.array(indices, dtype=np.int64))) == [
        sequences[i] for i in indices
    ]


def numbered(count):
    """Sequences that all differ, in a known order."""
    return ["A" * (i + 1) for i in range(count)]


@given(st.integers(2, 60), st.floats(0, 1), st.integers(0, 2**32))
def test_a_split_is_disjoint_complete_and_seeded(count, fraction, seed):
    store = SequenceStore.from_sequences(numbered(count))
    aside = max(1, round(fraction * count))
    if aside == count:
        with pytest.raises(DataError, match=rf"^{count} sequences are too few to set"):
            store.split(fraction, seed)
        return
    rest, held = store.split(fraction, seed)
    assert len(held) == aside
    assert sorted(letters(rest) + letters(held)) == numbered(count)
    again = store.split(fraction, seed)
    assert (letters(again[0]), letters(again[1])) == (letters(rest), letters(held))


def test_another_seed_splits_otherwise():
    store = SequenceStore.from_sequences(numbered(50))
    parts = {tuple(letters(store.split(0.2, seed)[1])) for seed in range(20)}
    assert len(parts) == 20
    held = [sequence for part in parts for sequence in part]
    assert len(set(held)) > 40  # every sequence may be set aside


def test_one_sequence_cannot_be_split():
    with pytest.raises(DataError, match=r"^1 sequences are too few"):
        SequenceStore.from_sequences(["MKT"]).split(0.05, 1)


def test_from_a_file(tmp_path):
    path = tmp_path / "proteins.txt"  # a file that is named is read whatever its ending
    path.write_text(">a\nmkt*\n>b\nGG1A\n")
    assert letters(SequenceStore.from_fasta(path)) == ["MKT", "GGXA"]
    assert letters(SequenceStore.from_fasta(path, ESM1NV)) == ["MKT", "GGXA"]


def test_from_a_folder_in_the_order_of_names(tmp_path):
    (tmp_path / "b.fasta").write_text(">a\nMKT\n")
    (tmp_path / "a.FAA.gz").write_bytes(gzip.compress(b">a\nGG\n>b\nGA\n"))
    (tmp_path / "c.fa.xz").write_bytes(lzma.compress(b">a\nMM\n"))
    (tmp_path / "notes.txt").write_text("not a FASTA file")
    (tmp_path / "more.fasta").mkdir()
    assert letters(SequenceStore.from_fasta(tmp_path)) == ["GG", "GA", "MKT", "MM"]


def test_a_folder_without_fasta_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a FASTA file")
    with pytest.raises(DataError, match=r"has no FASTA file \(\.fasta, \.fa, \.faa\)") as caught:
        SequenceStore.from_fasta(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FastaError, match="there is no file"):
        SequenceStore.from_fasta(tmp_path / "nothing.fasta")
    (tmp_path / "good.fasta").write_text(">a\nMK\n")
    (tmp_path / "empty.fasta").write_text("")
    with pytest.raises(FastaError, match=r"empty\.fasta has no records"):
        SequenceStore.from_fasta(tmp_path)
    genes = tmp_path / "genes.fasta"
    genes.write_text(">gene\n" + "ACGT" * 20)
    with pytest.raises(SequenceError, match=r"genes\.fasta: record 'gene' looks like nucleotides"):
        SequenceStore.from_fasta(genes)


def test_real_proteins(shared_data):
    path = shared_data / "golden" / "some_proteins.fasta"
    expected = [record.sequence for record in read_fasta(path)]
    assert letters(SequenceStore.from_fasta(path)) == expected
