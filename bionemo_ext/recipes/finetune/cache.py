"""Embeddings of a frozen encoder on disk, each sequence's computed once and never again.

A cache is a folder named after what its rows depend on (weights, arithmetic, pooling, number
format), so that one of another model is another folder. In it ``vectors`` holds rows end to end and
``index`` an entry a sequence: the SHA-256 of its letters, its first row and how many. Both only
grow. Rows reach the disk before the entry that names them, so what a killed process leaves behind
an entry's end is cut off by the next writer and never read.

Shapes: L residues, H hidden.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo_ext.errors import CheckpointError, RunError

# The pooling of a cache that holds a row a residue.
RESIDUES = "residues"

_ENTRY = np.dtype([("key", "S64"), ("row", "<i8"), ("rows", "<i8")])


@dataclass(frozen=True)
class CacheKey:
    """All that the rows of a cache depend on, beside the sequence.

    Parameters
    ----------
    encoder : str
        SHA-256 of the weights.
    arithmetic : str
        Number format that the encoder computed in.
    pooling : str
        ``residues`` for a row a residue, else how the one row of a sequence came about.
    dtype : {"float32", "float16"}
        Number format on disk.
    hidden : int
        H.
    """

    encoder: str
    arithmetic: str
    pooling: str
    dtype: str
    hidden: int

    @property
    def folder_name(self) -> str:
        """Name for people, and a digest of all fields for certainty."""
        text = json.dumps(asdict(self), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return f"{self.encoder[:12]}-{self.pooling}-{self.arithmetic}-{self.dtype}-{digest[:12]}"


class EmbeddingCache:
    """Rows of embeddings by sequence, on disk; memory holds the index alone.

    Parameters
    ----------
    root : Path
        Folder of caches.
    key : CacheKey
        Which of them.

    Raises
    ------
    CheckpointError
        If the folder cannot be made or is damaged.
    """

    def __init__(self, root: Path, key: CacheKey) -> None:
        self.key, self.folder = key, root / key.folder_name
        self._row_bytes = key.hidden * np.dtype(key.dtype).itemsize
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in ("vectors", "index"):
                (self.folder / name).touch()
            self._vectors = (self.folder / "vectors").open("rb", buffering=0)
        except OSError as error:
            raise CheckpointError(
                f"the cache {self.folder} cannot be used: {error.strerror}"
            ) from None
        self._read_index()

    def __enter__(self) -> "EmbeddingCache":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._vectors.close()

    def __contains__(self, sequence: str) -> bool:
        return _digest(sequence) in self._entries

    def __getitem__(self, sequence: str) -> Tensor:
        """Rows of a sequence, [L, H] or [1, H] in fp32.

        Raises
        ------
        KeyError
            If the sequence has none yet.
        CheckpointError
            If the file is shorter than its index says.
        """
        row, rows = self._entries[_digest(sequence)]
        data = os.pread(self._vectors.fileno(), rows * self._row_bytes, row * self._row_bytes)
        if len(data) < rows * self._row_bytes:
            raise CheckpointError(f"{self.folder / 'vectors'} has lost its end; delete the folder")
        found = np.frombuffer(bytearray(data), dtype=self.key.dtype)
        return torch.from_numpy(found.reshape(rows, self.key.hidden)).float()

    def missing(self, sequences: Iterable[str]) -> list[str]:
        """The sequences that have no rows yet, each once."""
        return [sequence for sequence in dict.fromkeys(sequences) if sequence not in self]

    def bytes_for(self, sequences: Sequence[str]) -> int:
        """Bytes that the rows of these sequences take."""
        rows = sum(map(len, sequences)) if self.key.pooling == RESIDUES else len(sequences)
        return rows * self._row_bytes

    @contextmanager
    def writing(self) -> Iterator["CacheWriter"]:
        """Be the one process that adds rows; another waits.

        Raises
        ------
        RunError
            If the disk is full.
        """
        lock = self.folder / "lock"
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            self._read_index()
            with (
                (self.folder / "vectors").open("r+b") as vectors,
                (self.folder / "index").open("r+b") as index,
            ):
                index.truncate(len(self._entries) * _ENTRY.itemsize)
                vectors.truncate(self._rows * self._row_bytes)
                vectors.seek(0, os.SEEK_END)
                index.seek(0, os.SEEK_END)
                writer = CacheWriter(vectors, index, self._rows, np.dtype(self.key.dtype))
                try:
                    yield writer
                    writer.flush()
                except OSError as error:
                    raise RunError(f"the cache {self.folder}: {error.strerror}") from None
                finally:
                    self._read_index()

    def _read_index(self) -> None:
        """Take the entries whose rows are there; a torn last entry is none."""
        path = self.folder / "index"
        whole = path.stat().st_size // _ENTRY.itemsize
        entries = np.fromfile(path, dtype=_ENTRY, count=whole)
        ends = entries["row"] + entries["rows"]
        # Rows are written in the order of their entries.
        there = os.fstat(self._vectors.fileno()).st_size // self._row_bytes
        entries = entries[: np.searchsorted(ends, there, side="right")]
        self._rows = int(ends[len(entries) - 1]) if len(entries) else 0
        self._entries: dict[bytes, tuple[int, int]] = {
            bytes(key): (int(row), int(rows)) for key, row, rows in entries
        }


class CacheWriter:
    """Adds rows to a cache, in portions that reach the disk whole."""

    # Lost at most when the process is killed.
    _PORTION_BYTES = 16 * 2**20

    def __init__(
        self, vectors: BinaryIO, index: BinaryIO, rows: int, dtype: np.dtype[np.generic]
    ) -> None:
        self._vectors, self._index = vectors, index
        self._row, self._dtype = rows, dtype
        self._entries: list[tuple[bytes, int, int]] = []
        self._waiting_bytes = 0

    def add(self, sequence: str, rows: Tensor) -> None:
        """Add a sequence's rows, [L, H] or [1, H]."""
        data: NDArray[np.generic] = rows.cpu().numpy().astype(self._dtype)
        self._vectors.write(data.tobytes())
        self._entries.append((_digest(sequence), self._row, len(data)))
        self._row += len(data)
        self._waiting_bytes += data.nbytes
        if self._waiting_bytes >= self._PORTION_BYTES:
            self.flush()

    def flush(self) -> None:
        """Bring rows to the disk, then the entries that name them."""
        _to_disk(self._vectors)
        self._index.write(np.array(self._entries, dtype=_ENTRY).tobytes())
        _to_disk(self._index)
        self._entries, self._waiting_bytes = [], 0


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _digest(sequence: str) -> bytes:
    return hashlib.sha256(sequence.encode()).hexdigest().encode()
