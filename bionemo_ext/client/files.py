"""Write results to files, whole or not at all."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client.results import Result
from bionemo_ext.contract import RESIDUES
from bionemo_ext.errors import InputError

EMBEDDING_SUFFIXES = (".npz", ".h5", ".parquet")
# Records that are written at once by the formats that can append.
_GROUP = 256


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
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour to write, which takes the place of ``path`` at the end.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


class _Sink(Protocol):
    def add(self, group: list[Result]) -> None: ...

    def close(self) -> None: ...


def write_embeddings(path: Path, results: Iterable[Result], pooling: str) -> None:
    """Write embeddings as npz, HDF5 or Parquet by the suffix; ``docs/client.md`` has the layout.

    HDF5 and Parquet are written as results come, npz is held in memory until the end.

    Parameters
    ----------
    path : Path
        The file; it is replaced.
    results : iterable of Result
        With the output ``pooling``, and ``residues`` where these are to be written too.
    pooling : str
        Name of the pooled output.
    """
    kinds: dict[str, Callable[[Path, str], _Sink]] = {
        ".npz": _Npz,
        ".h5": _Hdf5,
        ".parquet": _Parquet,
    }
    with whole(path) as partial:
        sink = kinds[path.suffix.lower()](partial, pooling)
        try:
            group: list[Result] = []
            for result in results:
                group.append(result)
                if len(group) == _GROUP:
                    sink.add(group)
                    group = []
            if group:
                sink.add(group)
        finally:
            sink.close()


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


class _Npz:
    def __init__(self, path: Path, pooling: str) -> None:
        self._path, self._pooling = path, pooling
        self._groups: list[dict[str, NDArray[Any]]] = []

    def add(self, group: list[Result]) -> None:
        self._groups.append(_columns(group, self._pooling))

    def close(self) -> None:
        if not self._groups:
            return
        arrays = {
            name: np.concatenate([columns[name] for columns in self._groups])
            for name in self._groups[0]
        }
        if "residues" in arrays:
            arrays["offsets"] = _offsets(arrays["embedded"])
        with self._path.open("wb") as file:
            np.savez(file, pooling=np.array(self._pooling), **arrays)


class _Hdf5:
    def __init__(self, path: Path, pooling: str) -> None:
        import h5py

        self._file = h5py.File(path, "w")
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

    def close(self) -> None:
        if "residues" in self._file:
            self._file["offsets"] = _offsets(self._file["embedded"][:])
        self._file.close()


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
