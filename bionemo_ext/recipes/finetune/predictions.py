"""Predictions of a labelled set as a Parquet file, a row a protein or a residue.

Letters: L residues, C classes or labels.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.tasks.metrics import THRESHOLD
from bionemo_ext.whole import whole

# Rows that are held before they are written as a row group.
_GROUP_ROWS = 65_536


@dataclass(frozen=True)
class Predicted:
    """One protein, what it is and what was said of it.

    Parameters
    ----------
    name : str
        The record's name.
    sequence : str
        Its L residues.
    truth : array
        As :class:`bionemo_ext.tasks.targets.Targets` has it: [] or [L]; labels [C] or [L, C].
    prediction : array
        Probabilities [C] or [L, C], or numbers in the target's unit [1] or [L, 1].
    """

    name: str
    sequence: str
    truth: NDArray[np.generic]
    prediction: NDArray[np.floating]


def write_predictions(
    path: Path,
    task: TaskInfo,
    proteins: Iterable[Predicted],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write predictions as they come; the file appears when it is whole.

    The columns are ``name``; for residues ``position`` (from 1) and ``residue``; ``truth``, null
    where the label does not count; ``predicted``; and ``p_<class>`` for each class or label. Truth
    and prediction are a class, a list of labels, or a number in the target's unit.

    Parameters
    ----------
    path : Path
        The file; it is replaced.
    task : TaskInfo
        What was predicted; kept in the schema as JSON under ``task``.
    proteins : iterable of Predicted
        Read once; a row group of them is held at a time.
    metadata : mapping of str to str, optional
        Further entries of the schema, such as the split or the encoder's digest.

    Raises
    ------
    InputError, RunError
        If the file cannot be written.
    """
    schema = _schema(task, metadata or {})
    with whole(path) as new, pq.ParquetWriter(new, schema, compression="zstd") as writer:
        for group in _groups(proteins, task.level):
            writer.write_table(_table(group, task, schema))


def _schema(task: TaskInfo, metadata: Mapping[str, str]) -> pa.Schema:
    value = {
        Kind.CLASSIFICATION: pa.string(),
        Kind.MULTILABEL: pa.list_(pa.string()),
        Kind.REGRESSION: pa.float32(),
    }[task.kind]
    place = [("position", pa.int32()), ("residue", pa.string())]
    columns = [("name", pa.string()), *(place if task.level is Level.RESIDUE else [])]
    columns += [("truth", value), ("predicted", value)]
    columns += [(f"p_{name}", pa.float32()) for name in task.classes]
    return pa.schema(columns, {"task": json.dumps(asdict(task)), **metadata})


def _groups(proteins: Iterable[Predicted], level: Level) -> Iterator[list[Predicted]]:
    group: list[Predicted] = []
    rows = 0
    for protein in proteins:
        group.append(protein)
        rows += len(protein.sequence) if level is Level.RESIDUE else 1
        if rows >= _GROUP_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _table(group: list[Predicted], task: TaskInfo, schema: pa.Schema) -> pa.Table:
    columns: list[object] = [[protein.name for protein in group]]
    if task.level is Level.RESIDUE:
        lengths = [len(protein.sequence) for protein in group]
        columns = [
            np.repeat(np.array(columns[0], dtype=object), lengths),
            np.concatenate([np.arange(1, length + 1) for length in lengths]),
            list("".join(protein.sequence for protein in group)),
        ]
        truth, raw = (np.concatenate(side) for side in _sides(group))
    else:
        truth, raw = (np.stack(side) for side in _sides(group))
    columns += [_truth(task, truth), _said(task, raw)]
    columns += list(raw.T) if task.classes else []
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _sides(group: list[Predicted]) -> tuple[list[NDArray[np.generic]], list[NDArray[np.generic]]]:
    return [protein.truth for protein in group], [protein.prediction for protein in group]


def _truth(task: TaskInfo, truth: NDArray[np.generic]) -> object:
    """A value a row; None where the label does not count."""
    if task.kind is Kind.CLASSIFICATION:
        return pa.array(task.classes).take(pa.array(truth, mask=truth < 0))
    if task.kind is Kind.REGRESSION:
        return pa.array(truth, type=pa.float32(), from_pandas=True)
    unknown = np.isnan(truth).any(1)
    named = _names(task, truth > 0)
    return [None if absent else labels for labels, absent in zip(named, unknown, strict=True)]


def _said(task: TaskInfo, raw: NDArray[np.generic]) -> object:
    if task.kind is Kind.CLASSIFICATION:
        return pa.array(task.classes).take(pa.array(raw.argmax(1)))
    return _names(task, raw >= THRESHOLD) if task.kind is Kind.MULTILABEL else raw[:, 0]


def _names(task: TaskInfo, there: NDArray[np.bool_]) -> list[list[str]]:
    return [[task.classes[c] for c in row.nonzero()[0]] for row in there]
