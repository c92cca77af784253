"""Protein FASTA files as a stream of records: plain, gzip, standard input or any byte stream."""

import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dnaio import FastaReader
from dnaio.exceptions import FileFormatError

from bionemo_ext.errors import FastaError, InputError, SequenceError
from bionemo_ext.sequences.compression import decompressed
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
    on_bad: Callable[[str, InputError], None] | None = None,
    may_be_empty: bool = False,
) -> Iterator[Record]:
    """Read records one at a time, their sequences cleaned by ``policy``.

    Memory stays constant but for one hash a record, which ``unique`` needs.

    Parameters
    ----------
    source : path, "-" or binary stream
        ``-`` is standard input. Gzip, bzip2, xz and zstd are recognised by their content; a UTF-8
        byte order mark is ignored. A stream is left open.
    policy : SequencePolicy, optional
        See :func:`bionemo_ext.sequences.policy.clean_sequence`; the length is not looked at.
    unique : bool
        Refuse a name that was seen before.
    on_bad : callable, optional
        Takes the name of a record that cannot be used, and why; the others are yielded. Without it
        the first such record raises.
    may_be_empty : bool
        Whether there may be no records, as in a part of a file.

    Yields
    ------
    Record

    Raises
    ------
    FastaError
        If the file is missing, empty, not FASTA, damaged, or repeats a name.
    SequenceError
        If a sequence breaks the policy; names the file too.
    """
    label = _label(source)
    seen: set[int] = set()
    count = 0
    try:
        with _open(source, label) as stream:
            for count, entry in enumerate(FastaReader(stream, sequence_class=_Entry), start=1):
                name = entry.name.split(maxsplit=1)[0] if entry.name.strip() else ""
                try:
                    _check_name(name, count, hash(name) in seen, label)
                    record = Record(name, clean_sequence(entry.sequence, name, policy), entry.name)
                except (FastaError, SequenceError) as error:
                    if on_bad is None:
                        raise
                    on_bad(name, error)
                    continue
                if unique:
                    seen.add(hash(name))
                yield record
    except SequenceError as error:
        raise SequenceError(f"{label}: {error}") from None
    except FileFormatError as error:
        line = f"line {error.line + 1}" if error.line is not None else "its first line"
        raise FastaError(f"{label} is not a FASTA file: {line} should begin with '>'") from None
    except UnicodeDecodeError:
        raise FastaError(f"{label} is not a FASTA file: it is not text in UTF-8") from None
    except OSError as error:
        raise FastaError(f"{label} cannot be read: {error}") from None
    if count == 0 and not may_be_empty:
        raise FastaError(f"{label} has no records")


def check_file(path: Path) -> None:
    """Refuse what is no file.

    Raises
    ------
    FastaError
        If there is nothing, or a folder.
    """
    if not path.exists():
        raise FastaError(f"there is no file {path}")
    if path.is_dir():
        raise FastaError(f"{path} is a folder, a FASTA file is needed")


def _check_name(name: str, count: int, seen: bool, label: str) -> None:
    if not name:
        raise FastaError(f"{label}: record {count} has no name after '>'")
    if seen:
        raise FastaError(
            f"{label}: the name {name!r} stands twice (second time at record {count}); "
            "names must differ, because results are found by name"
        )


class _Entry(NamedTuple):
    """What dnaio makes of a record; its own class takes ASCII only, without saying where."""

    name: str
    sequence: str
    qualities: None


def _label(source: str | Path | BinaryIO) -> str:
    if isinstance(source, str | Path):
        return "standard input" if str(source) == "-" else str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the stream"


@contextmanager
def _open(source: str | Path | BinaryIO, label: str) -> Iterator[BinaryIO]:
    """Give the decompressed bytes, without the byte order mark that some editors put first."""
    with ExitStack() as stack:
        if not isinstance(source, str | Path):
            stream = source
        elif str(source) == "-":
            stream = sys.stdin.buffer
        else:
            check_file(Path(source))
            stream = stack.enter_context(Path(source).open("rb"))
        plain = stack.enter_context(decompressed(stream))
        if plain.peek(len(BOM_UTF8)).startswith(BOM_UTF8):
            plain.read(len(BOM_UTF8))
        yield plain
