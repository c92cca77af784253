"""FASTA to token ids in bulk: one byte a residue, and a 128-bit number for each name.

The readers elsewhere check every record on its own; here 100 GB are to be read, so whole blocks
are translated. What is done to odd input is the same (docs/sequences.md), letters outside the
alphabet become ``X``, and everything that is changed or left out is counted.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from xopen import xopen

from bionemo_ext.data.counter import Bits
from bionemo_ext.data.progress import Advance
from bionemo_ext.data.uniref.names import hash_names
from bionemo_ext.errors import FastaError
from bionemo_ext.sequences import Alphabet

_BLOCK = 4 << 20
_UNKNOWN = 255
_SPACE = b" \t\r\n\v\f"


@dataclass
class Source(io.RawIOBase):
    """A file that is read once: its bytes counted and their checksum made on the way.

    Parameters
    ----------
    path : Path
        The file.
    advance : callable
        Told of the bytes read, as they lie on disk.
    """

    path: Path
    advance: Advance
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise FastaError(f"there is no file {self.path}")
        self._file = self.path.open("rb")

    def readable(self) -> bool:
        """Only that."""
        return True

    def readinto(self, buffer: bytearray) -> int:
        """Read on."""
        count = self._file.readinto(buffer)
        self.digest.update(memoryview(buffer)[:count])
        self.advance(count)
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def facts(self) -> dict[str, str | int]:
        """Name, size and checksum of the file, once it has been read to its end."""
        size = self.path.stat().st_size
        return {"file": self.path.name, "bytes": size, "sha256": self.digest.hexdigest()}

    def decompressed(self) -> BinaryIO:
        """The content: gzip, bzip2, xz and zstd are known by their first bytes."""
        return xopen(io.BufferedReader(self, 1 << 20), "rb", threads=0)


@dataclass
class Tally:
    """What was read, and what was changed or left out."""

    records: int = 0
    residues: int = 0
    fasta_bytes: int = 0
    empty: int = 0
    letters_to_x: int = 0


@dataclass(frozen=True)
class Block:
    """Records that stood together: ids end to end, lengths [N], names and their numbers [N, 2]."""

    ids: bytes
    lengths: NDArray[np.int32]
    numbers: Bits
    names: list[bytes]


def encode_fasta(source: Source, alphabet: Alphabet, tally: Tally) -> Iterator[Block]:
    """Translate a FASTA file block by block; records without residues are counted and left out.

    Raises
    ------
    FastaError
        If the file cannot be read, is empty or not FASTA.
    """
    table = _table(alphabet)
    for lines in _blocks(source):
        names, parts = [], []
        for record in lines[1:].split(b"\n>"):
            header, _, body = record.partition(b"\n")
            ids = body.translate(table, _SPACE)
            if b"*" in body:
                ids = body.translate(None, _SPACE).removesuffix(b"*").translate(table)
            if not (name := _name(header)):
                which = tally.records + tally.empty + len(names) + 1
                raise FastaError(f"{source.path}: record {which:,} has no name after '>'")
            if ids:
                names.append(name)
                parts.append(ids)
            else:
                tally.empty += 1
        joined = b"".join(parts)
        if unknown := joined.count(_UNKNOWN):
            joined = joined.replace(bytes([_UNKNOWN]), bytes([alphabet.ids["X"]]))
        tally.letters_to_x += unknown
        tally.records += len(names)
        tally.residues += len(joined)
        tally.fasta_bytes += len(lines) + 1
        lengths = np.array([len(part) for part in parts], dtype=np.int32)
        yield Block(joined, lengths, hash_names(names), names)
    if not tally.records:
        raise FastaError(f"{source.path} has no records")


def _table(alphabet: Alphabet) -> bytes:
    table = bytearray([_UNKNOWN] * 256)
    for letter in alphabet.residues:
        table[ord(letter)] = table[ord(letter.lower())] = alphabet.ids[letter]
    return bytes(table)


def _name(header: bytes) -> bytes:
    """Give the first word; the accession alone of ``sp|P12345|NAME``, as MMseqs2 writes it."""
    name = header.split(None, 1)[0] if header.strip() else b""
    if name[2:3] == b"|" and name[:2] in (b"sp", b"tr"):
        name = name.split(b"|", 2)[1]
    return name


def _blocks(source: Source) -> Iterator[bytes]:
    """Whole records, from ``>`` to before the line end that the next ``>`` follows."""
    rest = b""
    try:
        with source.decompressed() as stream:
            while chunk := stream.read(_BLOCK):
                if not rest:
                    chunk = chunk.removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE)
                    if chunk and not chunk.startswith(b">"):
                        sentence = "is not a FASTA file: its first line should begin with '>'"
                        raise FastaError(f"{source.path} {sentence}")
                rest += chunk
                cut = rest.rfind(b"\n>")
                if cut > 0:
                    yield rest[:cut]
                    rest = rest[cut + 1 :]
    except FastaError:
        raise
    except Exception as error:  # each decompressor has error classes of its own
        raise FastaError(f"{source.path} cannot be read: {' '.join(str(error).split())}") from None
    if rest:
        yield rest
