"""Write predictions as JSON, CSV or Parquet."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from bionemo_ext.client.files import whole
from bionemo_ext.client.results import Prediction
from bionemo_ext.contract import Kind, Level, TaskInfo

PREDICTION_SUFFIXES = (".json", ".csv", ".parquet")
# Digits kept in text: well below FP32's own error, and readable.
_DIGITS = 6
# Records in a row group.
_GROUP = 256

Write = Callable[[Prediction], None]


@contextmanager
def prediction_file(path: Path, task: TaskInfo) -> Iterator[Write]:
    """Write predictions in the format of the suffix; ``docs/client.md`` has the layout.

    Parameters
    ----------
    path : Path
        The file; it is replaced at the end, and left alone if writing fails.
    task : TaskInfo
        What was predicted.

    Yields
    ------
    callable
        Takes one prediction; so several files grow beside each other.
    """
    kinds = {".json": _json_file, ".csv": _csv_file, ".parquet": _parquet_file}
    with whole(path) as partial, kinds[path.suffix.lower()](partial, task) as write:
        yield write


def rows(prediction: Prediction) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table: one for the protein, or one a residue."""
    task = prediction.task
    if task.level is Level.SEQUENCE:
        keys: list[dict[str, Any]] = [
            {"name": prediction.name, "residues": len(prediction.sequence)}
        ]
        values = [prediction.values]
    else:
        keys = [
            {"name": prediction.name, "position": position, "residue": residue}
            for position, residue in enumerate(prediction.sequence, start=1)
        ]
        values = list(prediction.values)
    labels = prediction.labels
    for index, (key, row) in enumerate(zip(keys, values, strict=True)):
        numbers = [round(float(value), _DIGITS) for value in row]
        if task.kind is Kind.REGRESSION:
            yield {**key, "value": numbers[0]}
        else:
            named = {f"p_{name}": p for name, p in zip(task.classes, numbers, strict=True)}
            yield {**key, "label": labels[index], **named}


def entry(prediction: Prediction) -> dict[str, Any]:
    """Describe one record for JSON: labels and probabilities, or values."""
    task = prediction.task
    found: dict[str, Any] = {"name": prediction.name, "sequence": prediction.sequence}
    numbers = prediction.values.astype(float).round(_DIGITS).tolist()
    one = task.level is Level.SEQUENCE
    if task.kind is Kind.REGRESSION:
        found["value" if one else "values"] = numbers[0] if one else [value for (value,) in numbers]
        return found
    found["label" if one else "labels"] = prediction.labels[0] if one else prediction.labels
    found["probabilities"] = numbers
    return found


@contextmanager
def _json_file(path: Path, task: TaskInfo) -> Iterator[Write]:
    with path.open("w") as file:
        file.write(f'{{"task": {json.dumps(asdict(task))},\n"predictions": [')
        between = iter(["\n"])

        def write(prediction: Prediction) -> None:
            file.write(next(between, ",\n"))
            json.dump(entry(prediction), file)

        yield write
        file.write("\n]}\n")


@contextmanager
def _csv_file(path: Path, task: TaskInfo) -> Iterator[Write]:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, _columns(task))
        table.writeheader()
        yield lambda prediction: table.writerows(rows(prediction))


@contextmanager
def _parquet_file(path: Path, task: TaskInfo) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"residues": pa.int64(), "position": pa.int64()}
    types |= dict.fromkeys(("name", "residue", "label"), pa.string())
    schema = pa.schema(
        [(name, types.get(name, pa.float64())) for name in _columns(task)],
        {"task": json.dumps(asdict(task))},
    )
    group: list[Prediction] = []
    with pq.ParquetWriter(path, schema) as file:

        def flush() -> None:
            table = list(chain.from_iterable(map(rows, group)))
            file.write_table(pa.Table.from_pylist(table, schema=schema))
            group.clear()

        def write(prediction: Prediction) -> None:
            group.append(prediction)
            if len(group) == _GROUP:
                flush()

        yield write
        if group:
            flush()


def _columns(task: TaskInfo) -> list[str]:
    """Names of a table's columns, those of :func:`rows`."""
    keys = ["name", "residues"] if task.level is Level.SEQUENCE else ["name", "position", "residue"]
    if task.kind is Kind.REGRESSION:
        return [*keys, "value"]
    return [*keys, "label", *(f"p_{name}" for name in task.classes)]
