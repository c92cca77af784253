"""Records come out of every kind of file as they stand, and every bad file is one sentence."""

import bz2
import gzip
import io
import itertools
import lzma
import subprocess
import sys
import tracemalloc

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.errors import FastaError, SequenceError
from bionemo_ext.sequences import Record, SequencePolicy, read_fasta

TEXT = b">sp|P1|ONE first protein OS=x\nMKTV\nRQG\n>two\tunder test\nGGA\n"
RECORDS = [
    Record("sp|P1|ONE", "MKTVRQG", "sp|P1|ONE first protein OS=x"),
    Record("two", "GGA", "two\tunder test"),
]
MARK = b"\xef\xbb\xbf"

names = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=8)
proteins = st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=90)


def read(data, tmp_path, **options):
    path = tmp_path / "x.fasta"
    path.write_bytes(data)
    return list(read_fasta(path, **options))


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        TEXT.rstrip(),
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b"\n", b"\r"),
        TEXT.replace(b"\n", b"\n\n"),
        b"\n\n" + TEXT + b" \n",
        MARK + TEXT,
        MARK + TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b"GGA", b"gG a*"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_any_ending_any_compression_and_any_source(data, pack, tmp_path):
    packed = pack(data)
    assert read(packed, tmp_path) == RECORDS
    assert list(read_fasta(str(tmp_path / "x.fasta"))) == RECORDS
    stream = io.BytesIO(packed)
    assert list(read_fasta(stream)) == RECORDS
    assert not stream.closed


def test_the_content_tells_the_compression_and_not_the_name(tmp_path):
    path = tmp_path / "unpacked_by_the_browser.fasta.gz"
    path.write_bytes(TEXT)
    assert list(read_fasta(path)) == RECORDS
    with path.open("rb") as stream:
        assert list(read_fasta(stream)) == RECORDS


@pytest.mark.parametrize(
    "data", [TEXT, gzip.compress(TEXT), MARK + TEXT], ids=["plain", "gzip", "mark"]
)
def test_standard_input(data):
    script = "from bionemo_ext.sequences import read_fasta; print(list(read_fasta('-')))"
    done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().strip() == repr(RECORDS)


@given(st.dictionaries(names, proteins), st.integers(1, 80), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_read(records, width, newline):
    lines = []
    for name, sequence in records.items():
        pieces = [sequence[i : i + width] for i in range(0, len(sequence), width)]
        lines += [f">{name} about {name}", *pieces]
    stream = io.BytesIO(newline.join(lines).encode())
    if not records:
        with pytest.raises(FastaError, match="no records"):
            list(read_fasta(stream))
        return
    expected = [Record(n, s, f"{n} about {n}") for n, s in records.items()]
    assert list(read_fasta(stream)) == expected


class Generated(io.RawIOBase):
    """A FASTA stream that is made while it is read."""

    def __init__(self, records, residues):
        self._records = (
            f">protein{i}\n{'MKTVRQGLAE' * (residues // 10)}\n" for i in range(records)
        )
        self._left = b""

    def readable(self):
        return True

    def readinto(self, buffer):
        while len(self._left) < len(buffer) and (record := next(self._records, None)):
            self._left += record.encode()
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def peak(records, residues, **options):
    tracemalloc.start()
    total = sum(len(r.sequence) for r in read_fasta(Generated(records, residues), **options))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == records * residues
    return most


def test_memory_does_not_grow_with_the_stream():
    # 2 MB and 40 MB of residues; a list of either would be larger than the difference allowed.
    little, much = peak(500, 4000), peak(10_000, 4000)
    assert much - little < 1_500_000
    # Without the check of names nothing at all is kept of a record.
    assert peak(60_000, 10, unique=False) - peak(20_000, 10, unique=False) < 50_000


def test_records_come_before_the_stream_is_read():
    stream = Generated(10**9, 4000)
    first = list(itertools.islice(read_fasta(stream), 3))
    assert [record.name for record in first] == ["protein0", "protein1", "protein2"]


LONG = b"".join(b">p%d\nMKTVRQG%s\n" % (i, b"A" * (i % 61)) for i in range(2000))
PACKED = gzip.compress(LONG)
BAD = {
    "empty": (b"", FastaError, "x.fasta has no records"),
    "empty gzip": (gzip.compress(b""), FastaError, "x.fasta has no records"),
    "blank": (b"\n \r\n", FastaError, "x.fasta has no records"),
    "prose": (b"hello\nworld\n", FastaError, "is not a FASTA file: line 1 should begin with '>'"),
    "late start": (b"\n\nMKT\n>a\nMK\n", FastaError, "line 3 should begin with '>'"),
    "no name": (b">a\nMK\n>\nMKT\n", FastaError, "record 2 has no name after '>'"),
    "blank name": (b">  \nMKT\n", FastaError, "record 1 has no name after '>'"),
    "twice": (b">a x\nMK\n>b\nMK\n>a y\nMK", FastaError, "'a' stands twice (second time at record"),
    "no residues": (b">a\nMK\n>b\n>c\nMK\n", SequenceError, "record 'b' has no residues"),
    "no residues at the end": (b">a\nMK\n>b", SequenceError, "record 'b' has no residues"),
    "digit": (b">a\nMK\nT4\n", SequenceError, "record 'a' has '4' at position 4, which is not in"),
    "non-ASCII": (">a\nMKé\n".encode(), SequenceError, "record 'a' has 'é' at position 3"),
    "nucleotides": (b">a\n" + b"ACGT" * 20, SequenceError, "record 'a' looks like nucleotides"),
    "latin-1": (">é\nMK\n".encode("latin-1"), FastaError, "it is not text in UTF-8"),
    "UTF-16": (">a\nMK\n".encode("utf-16"), FastaError, "it is not text in UTF-8"),
    "binary": (bytes(range(256)) * 9, FastaError, "is not a FASTA file"),
    "zip": (b"PK\x03\x04\x14\0\0\0\x0b\x0c", FastaError, "is not a FASTA file: line 1"),
    "cut gzip": (PACKED[: len(PACKED) // 2], FastaError, "cannot be read: Compressed file ended"),
    "gzip without its end": (PACKED[:-4], FastaError, "cannot be read: Compressed file ended"),
    "gzip header alone": (PACKED[:5], FastaError, "cannot be read: Compressed file ended"),
    "wrong checksum": (PACKED[:-8] + b"abcdefgh", FastaError, "cannot be read: CRC check failed"),
    "cut xz": (lzma.compress(LONG)[:-9], FastaError, "cannot be read: Compressed file ended"),
    "cut zstd": (zstd.compress(LONG)[:-9], FastaError, "cannot be read: Compressed file ended"),
    "cut bz2": (bz2.compress(LONG)[:-9], FastaError, "cannot be read: Compressed file ended"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "kind", "said"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_one_sentence_that_names_it(data, kind, said, tmp_path):
    with pytest.raises(kind) as caught:
        read(data, tmp_path)
    sentence = str(caught.value)
    assert said in sentence
    assert sentence.startswith(f"{tmp_path / 'x.fasta'}")
    assert len(sentence.splitlines()) == 1
    assert caught.value.exit_code == 2


@given(st.integers(0, len(PACKED) - 1), st.integers(0, 7), st.sampled_from(["gz", "xz", "bz2"]))
def test_a_flipped_bit_gives_the_records_or_a_sentence(place, bit, kind):
    packed = bytearray({"gz": gzip, "xz": lzma, "bz2": bz2}[kind].compress(LONG[:3000]))
    packed[place % len(packed)] ^= 1 << bit
    try:
        records = list(read_fasta(io.BytesIO(packed)))
    except (FastaError, SequenceError) as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        assert b"".join(f">{r.name}\n{r.sequence}\n".encode() for r in records) in LONG


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FastaError, match=r"^there is no file .*nothing\.fasta$"):
        next(read_fasta(tmp_path / "nothing.fasta"))
    with pytest.raises(FastaError, match=r"is a folder, a FASTA file is needed$"):
        next(read_fasta(tmp_path))


def test_bad_standard_input_is_named_so():
    script = "from bionemo_ext.sequences import read_fasta; list(read_fasta('-'))"
    done = subprocess.run([sys.executable, "-c", script], input=b">a\nMK1\n", capture_output=True)
    assert b"standard input: record 'a' has '1' at position 3" in done.stderr


def test_the_policy_reaches_the_records(tmp_path):
    policy = SequencePolicy(unknown_to_x=True)
    assert read(">a\nMK1é\n".encode(), tmp_path, policy=policy) == [Record("a", "MKXX", "a")]


def test_names_may_repeat_when_allowed(tmp_path):
    assert len(read(b">a\nMK\n>a\nMK\n", tmp_path, unique=False)) == 2
