"""The bytes of a file, whatever it is compressed with; its content tells, and not its name."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from xopen import xopen

_BUFFER = 128 * 1024


@contextmanager
def decompressed(stream: BinaryIO) -> Iterator[io.BufferedReader]:
    """Give the bytes of a stream as they were before gzip, bzip2, xz or zstd; it is left open.

    Raises
    ------
    OSError
        While it is read, whatever goes wrong.
    """
    with xopen(io.BufferedReader(_Foreign(stream)), "rb", threads=0) as plain:
        yield io.BufferedReader(_Foreign(plain), _BUFFER)


def is_compressed(path: Path) -> bool:
    """Whether a file is, so that it can be read from its beginning only; errors are OSError."""
    with path.open("rb") as file:
        stream = io.BufferedReader(_Foreign(file))
        with xopen(stream, "rb", threads=0) as plain:
            return plain is not stream


class _Foreign(io.RawIOBase):
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
