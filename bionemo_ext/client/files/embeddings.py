"""Write embeddings to files, whole or not at all."""

import io
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bionemo_ext.client.files.columns import embedding_columns, grouped, residue_offsets
from bionemo_ext.client.files.embedding_parquet import ParquetSink
from bionemo_ext.client.files.npz import NpzFile
from bionemo_ext.client.results import Result
from bionemo_ext.contract import RESIDUES
from bionemo_ext.whole import whole

EMBEDDING_SUFFIXES = (".npz", ".h5", ".parquet", ".tsv")


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
            file.add("offsets", residue_offsets(embedded))


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
    """A file for HDF5, which goes on with an exception pending and may crash of it.

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

    def truncate(self, size: int | None = None) -> int:
        wanted = self.tell() if size is None else size
        if self.error is None:
            try:
                super().truncate(wanted)
            except OSError as error:
                self.error = error
        return wanted

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

        for name, values in embedding_columns(group, self._pooling).items():
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
            self._file["offsets"] = residue_offsets(self._file["embedded"][:])
        self._file.close()
        self._raw.close()
        self._raw.check()


_SINKS: dict[str, Callable[[Path, str], _Sink]] = {
    ".h5": _Hdf5,
    ".parquet": ParquetSink,
    ".tsv": _Tsv,
}
