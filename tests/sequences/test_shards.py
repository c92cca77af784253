"""Ranges of a FASTA have every record once and in order, wherever the cuts fall."""

import bz2
import gzip
import hashlib
import lzma
import time

import pytest
from backports import zstd
from hypothesis import example, given
from hypothesis import strategies as st

from bionemo_ext.errors import FastaError
from bionemo_ext.sequences import read_fasta, shards
from bionemo_ext.sequences.shards import fasta_range, range_digests, split_fasta

headers = st.text(st.sampled_from("ab >|#\té"), max_size=8)
residues = st.text("ACDEFGHIKLMNPQRSTVWYacdx", min_size=1, max_size=300)
fillers = st.sampled_from(["", "", "\n", " \n", "\t \n\n", "# a comment\n"])


@st.composite
def files(draw):
    """Text of a FASTA whose names are unique: broken lines, blank lines, blanks before ``>``."""
    text = draw(fillers)
    for number in range(draw(st.integers(1, 12))):
        sequence, width = draw(residues), draw(st.integers(1, 80))
        lines = [sequence[i : i + width] for i in range(0, len(sequence), width)]
        indent = draw(st.sampled_from(["", "", "  ", "\t"]))
        header = f"{indent}>p{number} {draw(headers)}"
        text += "\n".join([header, *lines]) + "\n" + draw(fillers)
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n", "\r"])))
    return (draw(st.sampled_from(["", "\ufeff"])) + text).encode()


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write a file of its own for each call."""

    def make(data):
        path = tmp_path_factory.mktemp("fasta") / "x.fasta"
        path.write_bytes(data)
        return path

    return make


def records(parts):
    found = []
    for part in parts:
        with part.open() as stream:
            found += read_fasta(stream, may_be_empty=True)
    return found


@pytest.mark.parametrize("block", [1, 7, shards._BLOCK])
@given(data=files(), count=st.integers(1, 40))
@example(data=b">a\nMK\n", count=40)
@example(data=b">p1\n" + b"MKTVRQGLAE\n" * 100 + b">p2\nMK", count=7)  # longer than a range
@example(data=b">p1\nMK\n\n\n\n  \n>p2\nMK\n", count=9)  # cuts in blank lines
@example(data=b">a >b\nMK\n>c >d\nGG\n", count=6)  # a mark that begins no line
def test_ranges_tile_the_file_and_have_its_records_in_order(write, block, data, count):
    """However many bytes are read at once."""
    path = write(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BLOCK", block)
        parts = split_fasta(path, count)
        assert parts == [fasta_range(path, index, count) for index in range(count)]
        digests = list(range_digests(parts))
    assert records(parts) == list(read_fasta(path))
    assert parts == split_fasta(path, count)
    ends = [0, *(part.end for part in parts)]
    assert [*(part.start for part in parts), len(data)] == ends
    assert {part.size for part in parts} == {len(data)}
    assert digests == [hashlib.sha256(data[p.start : p.end]).hexdigest() for p in parts]


@pytest.mark.parametrize(("first", "cut"), [("MKT", 6), ("MKTV", 7), ("MK", 12)])
def test_a_cut_moves_on_to_the_next_record(write, first, cut):
    """12 bytes: half of them is where the second record begins, or before it, or behind it."""
    data = f">\n{first}\n>\nMKTVR"[:12].encode()
    assert [part.end for part in split_fasta(write(data), 2)] == [cut, 12]


LONG = b"".join(b">p%d\n%s\n" % (i, b"MKTVRQG" * (1 + i % 90)) for i in range(3000))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_a_compressed_file_has_the_ranges_of_what_is_in_it(write, pack):
    packed = split_fasta(write(pack(LONG)), 7)
    plain = split_fasta(write(LONG), 7)
    ends = [(part.start, part.end, part.size) for part in packed]
    assert ends == [(part.start, part.end, part.size) for part in plain]
    assert packed[3] == fasta_range(packed[3].path, 3, 7)
    assert records(packed) == records(plain)
    assert list(range_digests(packed)) == list(range_digests(plain))
    assert list(range_digests(packed[2:5])) == list(range_digests(plain))[2:5]


def test_ranges_are_of_like_size(write):
    sizes = [part.end - part.start for part in split_fasta(write(LONG), 8)]
    assert max(sizes) - min(sizes) < 2 * 700


def test_an_error_is_told_with_a_place_that_is_right(write):
    bad = LONG.replace(b">p2900\n", b">\n")
    (*_, last) = split_fasta(write(bad), 4)
    before = bad[: last.start].count(b">")
    with pytest.raises(FastaError) as caught:
        records([last])
    nth = 2901 - before
    place = f"x.fasta from byte {last.start:,}: record {nth} has no name after '>'"
    assert str(caught.value).endswith(place)


def test_what_is_no_fasta_is_the_first_range_s_matter(write):
    first, *others = split_fasta(write(b"MKT\nVRQ\n" * 50 + b">a\nMK\n"), 4)
    with pytest.raises(FastaError, match=r"x\.fasta is not a FASTA file: line 1 should begin"):
        records([first])
    assert [record.name for record in records(others)] == ["a"]


@pytest.mark.parametrize("count", [1, 3])
def test_an_empty_file_has_empty_ranges(write, count):
    parts = split_fasta(write(b""), count)
    assert [(part.start, part.end) for part in parts] == [(0, 0)] * count
    assert records(parts) == []


def test_what_cannot_be_read_is_one_sentence(write, tmp_path):
    with pytest.raises(FastaError, match=r"^there is no file .*nothing\.fasta$"):
        split_fasta(tmp_path / "nothing.fasta", 2)
    with pytest.raises(FastaError, match="is a folder"):
        fasta_range(tmp_path, 0, 2)
    damaged = write(gzip.compress(LONG)[:-2000])
    with pytest.raises(FastaError, match=r"x\.fasta cannot be read: Compressed file ended"):
        split_fasta(damaged, 2)


def test_blanks_alone_take_no_longer_than_their_number(write):
    began = time.monotonic()
    parts = split_fasta(write(b">a\nMK\n" + b"\n \n" * 1_000_000 + b">b\nMK\n"), 2)
    assert [record.name for record in records(parts)] == ["a", "b"]
    # Quadratic, it would be hours.
    assert time.monotonic() - began < 60
