"""A FASTA file in contiguous ranges of its bytes, each read by itself.

The decompressed file is cut into equal numbers of bytes, and each cut moves on to the next line
that begins with ``>``. So every record lies in exactly one range, and ranges in their order have
the records in the order of the file; of two cuts inside one long record the range between is empty.
"""

import hashlib
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bionemo_ext.errors import FastaError
from bionemo_ext.sequences.compression import decompressed, is_compressed
from bionemo_ext.sequences.fasta import check_file

_BLOCK = 1 << 16
# A line's beginning: its end before, blanks, and the mark of a record. Possessive, so that a search
# through blanks alone takes no longer than their number.
_LINE = re.compile(rb"[\r\n][ \t\f\v]*+(>?)")


@dataclass(frozen=True)
class FastaRange:
    """Some records of a FASTA file that follow each other.

    Parameters
    ----------
    path : Path
        The file.
    start, end : int
        Its decompressed bytes [start, end); equal where there is no record.
    size : int
        Bytes of the whole, decompressed.
    """

    path: Path
    start: int
    end: int
    size: int

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Give its bytes as a stream, for :func:`bionemo_ext.sequences.read_fasta`.

        Raises
        ------
        FastaError
            If the file is missing.
        OSError
            While it is read, if the file is damaged.
        """
        place = f" from byte {self.start:,}" if self.start else ""
        with _opened(self.path, self.start) as stream:
            yield io.BufferedReader(_Part(stream, self.end - self.start, f"{self.path}{place}"))


def split_fasta(path: Path, count: int) -> list[FastaRange]:
    """Cut a file into ``count`` ranges.

    Parameters
    ----------
    path : Path
        A FASTA file; of a compressed one everything is read.
    count : int
        How many; some are empty if there are fewer records.

    Returns
    -------
    list of FastaRange
        They tile the file.

    Raises
    ------
    FastaError
        If the file is missing or cannot be read.
    """
    with _told(path):
        size = _size(path)
        cuts = [0, *_records_at(path, [_place(size, i, count) for i in range(1, count)]), size]
    return [FastaRange(path, cuts[i], cuts[i + 1], size) for i in range(count)]


def fasta_range(path: Path, index: int, count: int) -> FastaRange:
    """Give the range ``index`` of :func:`split_fasta`; of a plain file only its ends are read.

    Errors are those of :func:`split_fasta`.
    """
    with _told(path):
        size = _size(path)
        inner = [i for i in (index, index + 1) if 0 < i < count]
        cuts = {0: 0, count: size}
        places = [_place(size, i, count) for i in inner]
        cuts.update(zip(inner, _records_at(path, places), strict=True))
    return FastaRange(path, cuts[index], cuts[index + 1], size)


def range_digests(ranges: Sequence[FastaRange]) -> Iterator[str]:
    """Yield the SHA-256 of the bytes of each range, reading the file once.

    Parameters
    ----------
    ranges : sequence of FastaRange
        Of one file, one after the other without a gap.

    Raises
    ------
    FastaError
        If the file is missing or cannot be read.
    """
    path = ranges[0].path
    with _told(path), _opened(path, ranges[0].start) as stream:
        for one in ranges:
            digest = hashlib.sha256()
            for block in _blocks(stream, one.end - one.start):
                digest.update(block)
            yield digest.hexdigest()


def _place(size: int, index: int, count: int) -> int:
    """Byte where range ``index`` > 0 begins, or behind it; the file's first is the first's."""
    return max(1, size * index // count)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FastaError(f"{path} cannot be read: {error}") from None


@contextmanager
def _opened(path: Path, offset: int) -> Iterator[BinaryIO]:
    """Give the decompressed bytes from ``offset`` on."""
    check_file(path)
    packed = is_compressed(path)
    with path.open("rb") as file:
        if not packed:
            file.seek(offset)
            yield file
            return
        with decompressed(file) as stream:
            for _ in _blocks(stream, offset):
                pass
            yield stream


def _size(path: Path) -> int:
    check_file(path)
    if not is_compressed(path):
        return path.stat().st_size
    with _opened(path, 0) as stream:
        return sum(map(len, _blocks(stream)))


def _records_at(path: Path, places: list[int]) -> Iterator[int]:
    """Yield, for each place > 0, where the first record is whose line begins there or later."""
    if not is_compressed(path):
        for place in places:
            with _opened(path, place - 1) as stream:
                yield from _first_records(_blocks(stream), place - 1, [place])
    elif places:
        with _opened(path, 0) as stream:
            yield from _first_records(_blocks(stream), 0, places)


def _first_records(blocks: Iterable[bytes], offset: int, places: list[int]) -> Iterator[int]:
    """Find the records in consecutive blocks of which the first is at ``offset``.

    Yields
    ------
    int
        For each place the offset of a ``>``, or of the end.
    """
    left = deque(places)
    tail = b""
    for read in blocks:
        block, begin = tail + read, offset - len(tail)
        offset += len(read)
        tail = b""
        for line in _LINE.finditer(block, max(0, left[0] - 1 - begin)):
            if not line[1]:
                if line.end() == len(block):
                    tail = line[0]  # what the line begins with is in the next block
                continue
            while left and left[0] <= begin + line.start() + 1:
                left.popleft()
                yield begin + line.end() - 1
            if not left:
                return
    yield from [offset] * len(left)


def _blocks(stream: BinaryIO, length: int | None = None) -> Iterator[bytes]:
    """Read ``length`` bytes, or everything."""
    left = length
    while block := stream.read(_BLOCK if left is None else min(_BLOCK, left)):
        yield block
        if left is not None:
            left -= len(block)


class _Part(io.RawIOBase):
    """The next bytes of a stream, under a name of their own."""

    def __init__(self, stream: BinaryIO, length: int, name: str) -> None:
        self._stream, self._left, self.name = stream, length, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)
