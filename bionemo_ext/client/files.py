"""Write embeddings to files, whole or not at all."""

import errno
import io
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client.npz import NpzFile
from bionemo_ext.client.results import Result
from bionemo_ext.contract import RESIDUES
from bionemo_ext.errors import InputError, RunError

EMBEDDING_SUFFIXES = (".npz", ".h5", ".parquet", ".tsv")
# What is written at once by the formats that can append: records, and bytes of their arrays.
_GROUP = 256
_GROUP_BYTES = 16 << 20
# Nothing is wrong with what was asked for; the place is too small, or broken.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def check_out(path: Path, suffixes: Iterable[str]) -> None:
    """Refuse early what could not be written at the end.

    Raises
    ------
    InputError
        If the suffix is not one of ``suffixes``, the folder is missing, or a folder is there.
    """
    known = list(suffixes)
    if path.suffix.lower() not in known:
        raise InputError(f"{path} ends in none of {', '.join(known)}, which says the format")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} to")
    if path.is_dir():
        raise InputError(f"{path} is a folder")


@contextmanager
def cannot_be_written(path: Path) -> Iterator[None]:
    """Tell in a sentence that ``path`` cannot be written.

    Raises
    ------
    RunError
        If there is no room for it.
    InputError
        If the place is wrong: a folder that is missing or may not be written to.
    """
    try:
        yield
    except OSError as error:
        kind = RunError if error.errno in _NO_ROOM else InputError
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise kind(f"{path} cannot be written: {reason}") from None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour to write, which takes the place of ``path`` at the end.

    Errors are those of :func:`cannot_be_written`.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with cannot_be_written(path):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_embeddings(path: Path, results: Collection[Result], pooling: str) -> None:
    """Write embeddings in the format of the suffix; ``docs/client.md`` has the layout.

    A few megabytes of arrays are in memory at a time.

    Parameters
    ----------
    path : Path
        The file; it is replaced.
    results : collection of Result
        With the output ``pooling``, and ``residues`` where these are to be written too. Gone
        through once for each array of an npz, and once for the other formats.
    pooling : str
        Name of the pooled output.

    Raises
    ------
    RunError, InputError
        If it cannot be written.
    """
    with whole(path) as partial:
        if path.suffix.lower() == ".npz":
            _write_npz(partial, results, pooling)
            return
        sink = _SINKS[path.suffix.lower()](partial, pooling)
        try:
            for group in grouped(results):
                sink.add(group)
        finally:
            sink.close()


def grouped(results: Iterable[Result]) -> Iterator[list[Result]]:
    """Yield results in groups that are small enough to be held in memory."""
    group: list[Result] = []
    held = 0
    for result in results:
        group.append(result)
        held += sum(array.nbytes for array in result.values.values())
        if len(group) == _GROUP or held >= _GROUP_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group


def _columns(group: list[Result], pooling: str) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "names": np.array([result.name for result in group]),
        "lengths": np.array([result.length for result in group], dtype=np.int32),
        "embedded": np.array([len(result.sequence) for result in group], dtype=np.int32),
        "windows": np.array([result.windows for result in group], dtype=np.int32),
        "embeddings": np.stack([result.values[pooling] for result in group]),
    }
    if RESIDUES in group[0].values:
        columns["residues"] = np.concatenate([result.values[RESIDUES] for result in group])
    return columns


def _offsets(embedded: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(embedded, dtype=np.int64)))


class _Sink(Protocol):
    def add(self, group: list[Result]) -> None: ...

    def close(self) -> None: ...


def _write_npz(path: Path, results: Collection[Result], pooling: str) -> None:
    names, counts, outputs = [], [], {}
    for result in results:
        names.append(result.name)
        counts.append((result.length, len(result.sequence), result.windows))
        outputs = {output: array.shape[-1] for output, array in result.values.items()}
    lengths, embedded, windows = np.array(counts, dtype=np.int32).T
    with NpzFile(path) as file:
        file.add("pooling", np.array(pooling))
        file.add("names", np.array(names))
        for name, column in (("lengths", lengths), ("embedded", embedded), ("windows", windows)):
            file.add(name, column)
        shape = (len(names), outputs[pooling])
        file.stream("embeddings", shape, np.float32, (r.values[pooling] for r in results))
        if RESIDUES in outputs:
            shape = (int(embedded.sum(dtype=np.int64)), outputs[RESIDUES])
            file.stream("residues", shape, np.float32, (r.values[RESIDUES] for r in results))
            file.add("offsets", _offsets(embedded))


class _Tsv:
    def __init__(self, path: Path, pooling: str) -> None:
        self._file = path.open("w")
        self._pooling = pooling

    def add(self, group: list[Result]) -> None:
        for result in group:
            # Nine digits are as much as FP32 has: they give the same number back.
            numbers = " ".join(f"{value:.9g}" for value in result.values[self._pooling].tolist())
            self._file.write(f"{result.name}\t{numbers}\n")

    def close(self) -> None:
        self._file.close()


class _Unfailing(io.FileIO):
    """A file for HDF5, which crashes at the program's end when a write failed.

    So it is not told, and nothing is written after the first ``error``, which is for the caller.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while self.error is None and left:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.error = error
        return len(data)

    def check(self) -> None:
        """Raise what went wrong."""
        if self.error is not None:
            raise self.error


class _Hdf5:
    def __init__(self, path: Path, pooling: str) -> None:
        import h5py

        self._raw = _Unfailing(path, "w+")
        self._file = h5py.File(self._raw, "w")
        self._file.attrs["pooling"] = self._pooling = pooling

    def add(self, group: list[Result]) -> None:
        import h5py

        for name, values in _columns(group, self._pooling).items():
            if name not in self._file:
                self._file.create_dataset(
                    name,
                    shape=(0, *values.shape[1:]),
                    maxshape=(None, *values.shape[1:]),
                    dtype=h5py.string_dtype() if name == "names" else values.dtype,
                    chunks=(
                        max(1, 65_536 // max(1, int(np.prod(values.shape[1:])))),
                        *values.shape[1:],
                    ),
                )
            data = self._file[name]
            data.resize(len(data) + len(values), axis=0)
            data[-len(values) :] = values.astype(object) if name == "names" else values
            self._raw.check()

    def close(self) -> None:
        if "residues" in self._file and self._raw.error is None:
            self._file["offsets"] = _offsets(self._file["embedded"][:])
        self._file.close()
        self._raw.close()
        self._raw.check()


class _Parquet:
    def __init__(self, path: Path, pooling: str) -> None:
        self._path, self._pooling = path, pooling
        self._writer: Any = None

    def add(self, group: list[Result]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = _columns(group, self._pooling)
        hidden = columns["embeddings"].shape[1]

        def rows(values: NDArray[np.float32]) -> Any:
            return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), hidden)

        table = {
            "name": pa.array(columns["names"].tolist()),
            "length": pa.array(columns["lengths"]),
            "embedded": pa.array(columns["embedded"]),
            "windows": pa.array(columns["windows"]),
            "embedding": rows(columns["embeddings"]),
        }
        if "residues" in columns:
            offsets = pa.array(_offsets(columns["embedded"]))
            table["residues"] = pa.LargeListArray.from_arrays(offsets, rows(columns["residues"]))
        whole_table = pa.table(table).replace_schema_metadata({"pooling": self._pooling})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, whole_table.schema)
        self._writer.write_table(whole_table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


_SINKS: dict[str, Callable[[Path, str], _Sink]] = {
    ".h5": _Hdf5,
    ".parquet": _Parquet,
    ".tsv": _Tsv,
}
