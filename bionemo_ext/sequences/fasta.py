"""Protein FASTA files as a stream of records: plain, gzip, standard input or any byte stream."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import dnaio
from dnaio.exceptions import FileFormatError
from xopen import xopen

from bionemo_ext.errors import FastaError
from bionemo_ext.sequences.policy import SequencePolicy, clean_sequence


@dataclass(frozen=True)
class Record:
    """One FASTA entry.

    Parameters
    ----------
    name : str
        The header up to its first white space.
    sequence : str
        The residues.
    description : str
        The whole header without ``>``.
    """

    name: str
    sequence: str
    description: str = ""


def read_fasta(
    source: str | Path | BinaryIO,
    policy: SequencePolicy | None = None,
    *,
    unique: bool = True,
) -> Iterator[Record]:
    """Read records one at a time, their sequences cleaned by ``policy``.

    Memory stays constant but for one 64-bit hash a record, which ``unique`` needs.

    Parameters
    ----------
    source : path, "-" or binary stream
        ``-`` is standard input. Gzip, bzip2, xz and zstd are recognised by their content.
    policy : SequencePolicy, optional
        See :func:`bionemo_ext.sequences.policy.clean_sequence`; the length is not looked at.
    unique : bool
        Refuse a name that was seen before.

    Yields
    ------
    Record

    Raises
    ------
    FastaError
        If the file is missing, empty, not FASTA, damaged, or repeats a name.
    SequenceError
        If a sequence breaks the policy.
    """
    label = _label(source)
    seen: set[int] = set()
    count = 0
    try:
        with _open(source, label) as reader:
            for count, entry in enumerate(reader, start=1):
                name = entry.name.split(maxsplit=1)[0] if entry.name.strip() else ""
                if not name:
                    raise FastaError(f"{label}: record {count} has no name after '>'")
                if unique and hash(name) in seen:
                    raise FastaError(
                        f"{label}: the name {name!r} stands twice (second time at record {count}); "
                        "names must differ, because results are found by name"
                    )
                seen.add(hash(name))
                yield Record(name, clean_sequence(entry.sequence, name, policy), entry.name)
    except FileFormatError as error:
        raise FastaError(f"{label} is not a FASTA file: {str(error).rstrip('.')}") from None
    except (EOFError, OSError, ValueError) as error:
        raise FastaError(f"{label} cannot be read: {error}") from None
    if count == 0:
        raise FastaError(f"{label} has no records")


def _label(source: str | Path | BinaryIO) -> str:
    if isinstance(source, str | Path):
        return "standard input" if str(source) == "-" else str(source)
    return str(getattr(source, "name", "the stream"))


def _open(source: str | Path | BinaryIO, label: str) -> dnaio.SingleEndReader:
    if isinstance(source, str | Path) and str(source) != "-":
        if not Path(source).exists():
            raise FastaError(f"there is no file {label}")
        if Path(source).is_dir():
            raise FastaError(f"{label} is a folder, a FASTA file is needed")
        return dnaio.open(xopen(source, "rb", threads=0), fileformat="fasta")
    stream = sys.stdin.buffer if isinstance(source, str | Path) else source
    # A stream has no name to tell a compressed file by: xopen looks at its first bytes.
    return dnaio.open(xopen(stream, "rb", threads=0), fileformat="fasta")
