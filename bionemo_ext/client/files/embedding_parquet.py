"""Embeddings as Parquet: a row a record, whose vectors are lists of numbers."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client.files.columns import embedding_columns, grouped, residue_offsets
from bionemo_ext.client.results import Result
from bionemo_ext.whole import whole

if TYPE_CHECKING:
    import pyarrow as pa


def write_embedding_shard(
    path: Path,
    results: Collection[Result],
    pooling: str,
    hidden: int,
    residues: bool,
    metadata: Mapping[str, str],
) -> None:
    """Write some of a larger job's embeddings, perhaps none.

    Parameters
    ----------
    path : Path
        The file; it is replaced.
    results : collection of Result
        With the output ``pooling``, and ``residues`` where these are to be written too.
    pooling : str
        Name of the pooled output.
    hidden : int
        Numbers of a vector.
    residues : bool
        Whether there is a column of residues.
    metadata : mapping of str to str
        What the schema says besides.

    Raises
    ------
    RunError, InputError
        If it cannot be written.
    """
    schema = embedding_schema(pooling, hidden, residues)
    schema = schema.with_metadata({**schema.metadata, **metadata})
    with whole(path) as partial:
        sink = ParquetSink(partial, pooling, schema)
        try:
            for group in grouped(results):
                sink.add(group)
        finally:
            sink.close()


def embedding_schema(pooling: str, hidden: int, residues: bool) -> "pa.Schema":
    """Describe the columns; ``docs/client.md`` says what they are."""
    import pyarrow as pa

    vector = pa.list_(pa.float32(), hidden)
    columns = {
        "name": pa.string(),
        "length": pa.int32(),
        "embedded": pa.int32(),
        "windows": pa.int32(),
        "embedding": vector,
    }
    if residues:
        columns["residues"] = pa.large_list(vector)
    return pa.schema(list(columns.items()), {"pooling": pooling})


class ParquetSink:
    """Takes results group by group.

    Parameters
    ----------
    path : Path
        The file.
    pooling : str
        Name of the pooled output.
    schema : pyarrow.Schema, optional
        Where it is known before the first group; without it and without a group nothing is
        written.
    """

    def __init__(self, path: Path, pooling: str, schema: "pa.Schema | None" = None) -> None:
        self._path, self._pooling = path, pooling
        self._writer: Any = None
        if schema is not None:
            self._open(schema)

    def add(self, group: list[Result]) -> None:
        """Write some results, as a row group."""
        import pyarrow as pa

        columns = embedding_columns(group, self._pooling)
        hidden = columns["embeddings"].shape[1]
        if self._writer is None:
            self._open(embedding_schema(self._pooling, hidden, "residues" in columns))

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
            offsets = pa.array(residue_offsets(columns["embedded"]))
            table["residues"] = pa.LargeListArray.from_arrays(offsets, rows(columns["residues"]))
        self._writer.write_table(pa.table(table, schema=self._schema))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, schema: "pa.Schema") -> None:
        import pyarrow.parquet as pq

        self._schema, self._writer = schema, pq.ParquetWriter(self._path, schema)
