"""Tables as CSV or Parquet, written as their rows come."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TABLE_SUFFIXES = (".csv", ".parquet")
# Rows of a row group.
_GROUP_ROWS = 65_536
# Decimals kept: FP32 has no more of a number near 1, and text stays readable.
DECIMALS = 6

Columns = Mapping[str, Sequence[Any]]
Write = Callable[[Columns], object]


@contextmanager
def table_file(
    path: Path, types: Mapping[str, type], metadata: Mapping[str, Any] | None = None
) -> Iterator[Write]:
    """Write a table in the format of the suffix.

    Parameters
    ----------
    path : Path
        The file, ``.csv`` or ``.parquet``.
    types : mapping of str to {str, int, float}
        The columns in their order.
    metadata : mapping, optional
        What the schema of Parquet says besides, each value as JSON.

    Yields
    ------
    callable
        Takes some rows as lists of equal length by column.
    """
    kinds = {".csv": _csv_file, ".parquet": _parquet_file}
    with kinds[path.suffix.lower()](path, types, metadata or {}) as write:
        yield write


def decimals(values: NDArray[Any]) -> list[Any]:
    """Give numbers as Python's, rounded to what a table keeps."""
    return values.astype(np.float64).round(DECIMALS).tolist()


@contextmanager
def _csv_file(path: Path, types: Mapping[str, type], metadata: object) -> Iterator[Write]:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(types)

        def write(columns: Columns) -> None:
            table.writerows(zip(*(columns[name] for name in types), strict=True))

        yield write


@contextmanager
def _parquet_file(
    path: Path, types: Mapping[str, type], metadata: Mapping[str, Any]
) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema(
        [(name, kinds[kind]) for name, kind in types.items()],
        {key: json.dumps(value) for key, value in metadata.items()},
    )
    held: dict[str, list[Any]] = {name: [] for name in types}
    with pq.ParquetWriter(path, schema) as file:

        def flush() -> None:
            file.write_table(pa.table(held, schema=schema))
            for column in held.values():
                column.clear()

        def write(columns: Columns) -> None:
            for name, column in held.items():
                column.extend(columns[name])
            if len(column) >= _GROUP_ROWS:
                flush()

        yield write
        flush()
