"""Results in files of their own: what a bulk job has so far.

A part is an Arrow file of consecutive results: name, sequence, length, windows, and of each
output the values end to end with the shape of each array. It is read as a memory map, so that
looking at names does not read the numbers.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client.results import Result

if TYPE_CHECKING:
    import pyarrow as pa

_VALUES, _SHAPE = "values:", "shape:"


def write_part(path: Path, results: Sequence[Result]) -> None:
    """Write results to ``path``, which is there whole and on the disk, or not at all.

    Parameters
    ----------
    path : Path
        The part; replaced if it is there.
    results : sequence of Result
        With the same outputs: numbers of any shape, or texts.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    import pyarrow as pa

    table = _table(results)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def read_part(path: Path) -> Iterator[Result]:
    """Yield the results of a part; their arrays are views of the file, and read only.

    Raises
    ------
    OSError
        If the file is missing or not whole (``pyarrow.ArrowInvalid`` is a ``ValueError``).
    """
    for batch in _batches(path):
        columns = {name: batch.column(name) for name in batch.schema.names}
        outputs = {
            name.removeprefix(_VALUES): _arrays(
                columns[name], columns[name.replace(_VALUES, _SHAPE)]
            )
            for name in columns
            if name.startswith(_VALUES)
        }
        keys = (columns[key].to_pylist() for key in ("name", "sequence", "length", "windows"))
        for name, sequence, length, windows in zip(*keys, strict=True):
            values = {output: next(arrays) for output, arrays in outputs.items()}
            yield Result(name, sequence, length, windows, values)


def count_part(path: Path) -> int:
    """Count the results of a part; errors are those of :func:`read_part`."""
    return sum(batch.num_rows for batch in _batches(path))


def sync(path: Path) -> None:
    """Put a file, or the entries of a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _batches(path: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


def _table(results: Sequence[Result]) -> "pa.Table":
    import pyarrow as pa

    columns = {
        "name": pa.array([result.name for result in results], pa.large_string()),
        "sequence": pa.array([result.sequence for result in results], pa.large_string()),
        "length": pa.array([result.length for result in results], pa.int64()),
        "windows": pa.array([result.windows for result in results], pa.int64()),
    }
    for output in results[0].values:
        arrays = [np.asarray(result.values[output]) for result in results]
        columns[_VALUES + output] = _lists(arrays)
        shapes = [array.shape for array in arrays]
        columns[_SHAPE + output] = pa.array(shapes, pa.list_(pa.int64()))
    return pa.table(columns)


def _lists(arrays: Sequence[NDArray[Any]]) -> "pa.LargeListArray":
    import pyarrow as pa

    offsets = np.concatenate(([0], np.cumsum([array.size for array in arrays], dtype=np.int64)))
    flat = np.concatenate([array.ravel() for array in arrays])
    if flat.dtype.kind in "OSU":  # Triton's strings come as bytes
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in flat]
        values = pa.array(texts, pa.large_string())
    else:
        values = pa.array(flat)
    return pa.LargeListArray.from_arrays(pa.array(offsets), values)


def _arrays(lists: Any, shapes: Any) -> Iterator[NDArray[Any]]:
    import pyarrow as pa

    texts = pa.types.is_large_string(lists.type.value_type)
    values = lists.values.to_numpy(zero_copy_only=not texts)
    offsets = lists.offsets.to_numpy()
    for start, end, shape in zip(offsets[:-1], offsets[1:], shapes.to_pylist(), strict=True):
        yield values[start:end].reshape(shape)
