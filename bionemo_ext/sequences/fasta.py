"""Protein FASTA files as a stream of records: plain, gzip, standard input or any byte stream."""

import io
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from dnaio import FastaReader
from dnaio.exceptions import FileFormatError
from xopen import xopen

from bionemo_ext.errors import FastaError, InputError, SequenceError
from bionemo_ext.sequences.policy import SequencePolicy, clean_sequence

_BUFFER = 128 * 1024


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
    if count == 0:
        raise FastaError(f"{label} has no records")


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


class _Bytes(io.RawIOBase):
    """Somebody else's stream, which is left open; whatever goes wrong in it is an OSError.

    Each decompressor has error classes of its own. And a stream without a name is recognised by its
    first bytes: xopen would rather believe a name such as ``x.fasta.gz``.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except Exception as error:
            raise OSError(" ".join(str(error).split())) from error
        buffer[: len(data)] = data
        return len(data)


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
        elif not Path(source).exists():
            raise FastaError(f"there is no file {label}")
        elif Path(source).is_dir():
            raise FastaError(f"{label} is a folder, a FASTA file is needed")
        else:
            stream = stack.enter_context(Path(source).open("rb"))
        plain = stack.enter_context(xopen(io.BufferedReader(_Bytes(stream)), "rb", threads=0))
        buffered = io.BufferedReader(_Bytes(plain), _BUFFER)
        if buffered.peek(len(BOM_UTF8)).startswith(BOM_UTF8):
            buffered.read(len(BOM_UTF8))
        yield buffered
