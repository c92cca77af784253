"""Bulk encoding says the same as the reader that looks at every record on its own."""

import gzip
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.data.uniref import encode
from bionemo_ext.data.uniref.encode import Source, Tally, encode_fasta
from bionemo_ext.data.uniref.names import NameIndex, hash_names, hash_spans
from bionemo_ext.errors import FastaError
from bionemo_ext.sequences import ESM1NV, ESM2, SequencePolicy, read_fasta

names = st.text("ABCxyz019_|.", min_size=1, max_size=30).filter(lambda n: n[2:3] != "|")
lines = st.text(ESM2.residues + "acdxJ1*", max_size=12)
ends = st.sampled_from(["\n", "\r\n"])


def read(path, alphabet=ESM2):
    """Sequences, names, numbers and tally of a file."""
    tally = Tally()
    blocks = list(encode_fasta(Source(path, lambda done: None), alphabet, tally))
    sequences, found = [], []
    for block in blocks:
        stops = np.cumsum(block.lengths)
        ids = np.frombuffer(block.ids, np.uint8)
        sequences += [alphabet.decode(ids[b - n : b]) for b, n in np.c_[stops, block.lengths]]
        found += block.names
    return sequences, found, np.concatenate([block.numbers for block in blocks]), tally


@pytest.mark.parametrize("alphabet", [ESM2, ESM1NV], ids=lambda a: a.name)
@given(records=st.lists(st.tuples(names, st.lists(lines, max_size=4)), min_size=1), end=ends,
       block=st.sampled_from([7, 64, 1 << 20]))  # fmt: skip
def test_records_are_those_of_the_careful_reader(tmp_path_factory, alphabet, records, end, block):
    text = "".join(f">{i}{name} x>y{end}" + "".join(line + end for line in body)
                   for i, (name, body) in enumerate(records))  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "any.fasta"
    path.write_text(text, newline="")
    kept = [(f"{i}{name}".encode(), "".join(body)) for i, (name, body) in enumerate(records)]
    kept = [(n, s) for n, s in kept if s.removesuffix("*")]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(encode, "_BLOCK", block)
        if not kept:
            with pytest.raises(FastaError, match=r"any\.fasta has no records"):
                read(path, alphabet)
            return
        sequences, found, numbers, tally = read(path, alphabet)
    assert found == [name for name, _ in kept]
    path.write_bytes(b"".join(b">%b\n%b\n" % (n, s.encode()) for n, s in kept))
    policy = SequencePolicy(alphabet, unknown_to_x=True)
    assert sequences == [record.sequence for record in read_fasta(path, policy)]
    np.testing.assert_array_equal(numbers, hash_names(found))
    letters = "".join(s.removesuffix("*") for _, s in kept).upper()
    changed = sum(letter not in alphabet.residues for letter in letters)
    assert (tally.records, tally.empty) == (len(kept), len(records) - len(kept))
    assert (tally.residues, tally.letters_to_x) == (len(letters), changed)
    if end == "\n":
        assert abs(tally.fasta_bytes - len(text)) <= 1


def test_real_proteins_compressed(shared_data):
    path = shared_data / "uniprot" / "uniprot_20k.fasta.gz"
    source, tally = Source(path, lambda done: None), Tally()
    blocks = list(encode_fasta(source, ESM2, tally))
    data, careful = b"".join(block.ids for block in blocks), hashlib.sha256()
    for record in read_fasta(path, SequencePolicy(unknown_to_x=True)):
        careful.update(ESM2.encode_residues(record.sequence).astype(np.uint8).tobytes())
    assert hashlib.sha256(data).digest() == careful.digest()
    assert (tally.records, tally.residues) == (20_000, 9_055_569)
    content = path.read_bytes()
    assert source.facts() == {
        "file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    assert tally.fasta_bytes == pytest.approx(len(gzip.decompress(content)), abs=1)


def test_an_accession_is_the_name_of_a_uniprot_header(tmp_path):
    path = tmp_path / "x.fasta"
    path.write_text("\n>sp|P12345|AATM_RABIT Aspartate\nMK\n>tr|Q1\nMK\n>UniRef50_A n=1\nMK")
    assert read(path)[1] == [b"P12345", b"Q1", b"UniRef50_A"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "has no records"),
        (b">a\n\n>b\n*\n", "has no records"),
        (b"MKT\n", "is not a FASTA file: its first line should begin with '>'"),
        (b">a\nMK\n> \nMK\n", ": record 2 has no name after '>'"),
        (gzip.compress(b">a\nMKT\n" * 9999, mtime=0)[:60], "cannot be read"),
    ],
)
def test_bad_files_are_named(tmp_path, content, sentence):
    path = tmp_path / "x.fasta"
    path.write_bytes(content)
    with pytest.raises(FastaError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


@given(st.lists(st.binary(max_size=40), unique=True, max_size=60))
def test_names_are_found_wherever_they_stand(known):
    numbers = hash_names(known)
    assert len({tuple(n) for n in numbers.tolist()}) == len(known)
    text = b"--".join([b"", *known, b""])
    starts = np.cumsum([0, *(len(name) + 2 for name in known)])[: len(known)] + 2
    stops = starts + [len(name) for name in known]
    there = hash_spans(np.frombuffer(text, np.uint8), starts.astype(int), stops.astype(int))
    np.testing.assert_array_equal(there, numbers)
    index = NameIndex(numbers)
    assert index.find(numbers[::-1]).tolist() == list(range(len(known)))[::-1]
    assert index.find(hash_names([b"none of them" * 9])).tolist() == [-1]


def test_similar_names_have_far_numbers():
    many = [b"UniRef90_A0A%09d" % i for i in range(200_000)]
    numbers = hash_names(many)
    for column in (0, 1):
        assert len(np.unique(numbers[:, column])) == len(many)
        assert abs(float((numbers[:, column] >> np.uint64(63)).mean()) - 0.5) < 0.01


def test_names_that_share_their_first_number_are_told_apart():
    numbers = np.array([[5, 1], [7, 9], [5, 2], [5, 1], [5, 3]], dtype=np.uint64)
    index = NameIndex(numbers)
    assert index.find(numbers).tolist() == [0, 1, 2, 0, 4]
    assert index.find(np.array([[5, 4], [6, 1]], dtype=np.uint64)).tolist() == [-1, -1]
    assert index.repeats(numbers).tolist() == [False, False, False, True, False]
