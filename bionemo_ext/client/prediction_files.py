"""Write predictions as JSON, CSV or Parquet."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bionemo_ext.client.files import whole
from bionemo_ext.client.results import Prediction
from bionemo_ext.contract import TaskInfo

PREDICTION_SUFFIXES = (".json", ".csv", ".parquet")
# Digits kept in text: well below FP32's own error, and readable.
_DIGITS = 6
# Records in a row group.
_GROUP = 256


def write_predictions(path: Path, predictions: Iterable[Prediction], task: TaskInfo) -> None:
    """Write predictions in the format of the suffix; ``docs/client.md`` has the layout.

    Parameters
    ----------
    path : Path
        The file; it is replaced.
    predictions : iterable of Prediction
        Written as they come.
    task : TaskInfo
        What was predicted.
    """
    write = {".json": _write_json, ".csv": _write_csv, ".parquet": _write_parquet}
    with whole(path) as partial:
        write[path.suffix.lower()](partial, predictions, task)


def rows(prediction: Prediction) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table: one for the protein, or one a residue."""
    task = prediction.task
    if task.level == "sequence":
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
        if task.kind == "regression":
            yield {**key, "value": numbers[0]}
        else:
            named = {f"p_{name}": p for name, p in zip(task.classes, numbers, strict=True)}
            yield {**key, "label": labels[index], **named}


def entry(prediction: Prediction) -> dict[str, Any]:
    """Describe one record for JSON: labels and probabilities, or values."""
    task = prediction.task
    found: dict[str, Any] = {"name": prediction.name, "sequence": prediction.sequence}
    numbers = prediction.values.astype(float).round(_DIGITS).tolist()
    one = task.level == "sequence"
    if task.kind == "regression":
        found["value" if one else "values"] = numbers[0] if one else [value for (value,) in numbers]
        return found
    found["label" if one else "labels"] = prediction.labels[0] if one else prediction.labels
    found["probabilities"] = numbers
    return found


def _write_json(path: Path, predictions: Iterable[Prediction], task: TaskInfo) -> None:
    with path.open("w") as file:
        file.write(f'{{"task": {json.dumps(asdict(task))},\n"predictions": [')
        for index, prediction in enumerate(predictions):
            file.write(",\n" if index else "\n")
            json.dump(entry(prediction), file)
        file.write("\n]}\n")


def _write_csv(path: Path, predictions: Iterable[Prediction], task: TaskInfo) -> None:
    table = chain.from_iterable(map(rows, predictions))
    with path.open("w", newline="") as file:
        first = next(table)
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(table)


def _write_parquet(path: Path, predictions: Iterable[Prediction], task: TaskInfo) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    left = iter(predictions)
    writer = None
    while group := list(islice(left, _GROUP)):
        table = pa.Table.from_pylist(list(chain.from_iterable(map(rows, group))))
        table = table.replace_schema_metadata({"task": json.dumps(asdict(task))})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
