"""Records that cannot be used are told and left out when asked; a file that is no FASTA is not."""

import io

import pytest

from bionemo_ext.errors import FastaError, SequenceError
from bionemo_ext.sequences import read_fasta

TEXT = b">a\nMKT\n>letter\nM1\n>\nMK\n>a\nMKV\n>hollow\n\n>letter\nMKTV\n"


def test_bad_records_are_told_in_their_order():
    told = []
    records = list(read_fasta(io.BytesIO(TEXT), on_bad=lambda *bad: told.append(bad)))
    # A name that only a bad record had is free.
    assert [(record.name, record.sequence) for record in records] == [
        ("a", "MKT"), ("letter", "MKTV"),
    ]  # fmt: skip
    assert [name for name, _ in told] == ["letter", "", "a", "hollow"]
    kinds = [SequenceError, FastaError, FastaError, SequenceError]
    assert [type(error) for _, error in told] == kinds
    reasons = ("has '1' at position 2", "no name after '>'", "stands twice", "has no residues")
    for (_, error), reason in zip(told, reasons, strict=True):
        assert reason in str(error)


def test_without_it_the_first_bad_record_raises():
    with pytest.raises(SequenceError, match="'letter' has '1'"):
        list(read_fasta(io.BytesIO(TEXT)))


@pytest.mark.parametrize("text", [b"", b"MKT\n", b">a\nMK\xff\n"])
def test_what_is_no_fasta_raises_all_the_same(text):
    with pytest.raises(FastaError):
        list(read_fasta(io.BytesIO(text), on_bad=lambda *bad: None))
