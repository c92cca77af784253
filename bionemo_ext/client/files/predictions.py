"""Write predictions as JSON, CSV, Parquet, or FASTA of class letters."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bionemo_ext.client.files.tables import decimals, table_file
from bionemo_ext.client.results import Prediction, Result
from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.errors import InputError
from bionemo_ext.whole import whole

PREDICTION_SUFFIXES = (".json", ".csv", ".parquet", ".fasta")

Write = Callable[[Prediction], object]


def check_task(path: Path, task: TaskInfo) -> None:
    """Refuse early a task that the format of ``path`` cannot hold.

    Raises
    ------
    InputError
        If a FASTA is to hold anything but one class of one letter a residue.
    """
    letters = task.level is Level.RESIDUE and task.kind is Kind.CLASSIFICATION
    if path.suffix.lower() == ".fasta" and not (letters and all(len(c) == 1 for c in task.classes)):
        raise InputError(
            f"{path} holds one letter a residue, and {task.name!r} does not predict one class of "
            "one letter for each residue: .json, .csv and .parquet hold it"
        )


def write_predictions(path: Path, results: Iterable[Result], task: TaskInfo, output: str) -> None:
    """Write the predictions of one task that are among the outputs of results.

    Parameters
    ----------
    path : Path
        As for :func:`prediction_file`.
    results : iterable of Result
        What the server answered.
    task : TaskInfo
        What was predicted.
    output : str
        Name of the task's output in the results.
    """
    with prediction_file(path, task) as write:
        for result in results:
            write(Prediction(result.name, result.sequence, task, result.values[output]))


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
    kinds = {
        ".json": _json_file,
        ".csv": _table,
        ".parquet": _table,
        ".fasta": _fasta_file,
    }
    with whole(path) as partial, kinds[path.suffix.lower()](partial, task) as write:
        yield write


def columns(prediction: Prediction) -> dict[str, list[Any]]:
    """Give the columns of a table: one row for the protein, or one a residue."""
    task, sequence = prediction.task, prediction.sequence
    found: dict[str, list[Any]] = {}
    if task.level is Level.SEQUENCE:
        found = {"name": [prediction.name], "residues": [len(sequence)]}
        numbers = decimals(prediction.values[:, None])
    else:
        found["name"] = [prediction.name] * len(sequence)
        found["position"] = list(range(1, len(sequence) + 1))
        found["residue"] = list(sequence)
        numbers = decimals(prediction.values.T)
    if task.kind is Kind.REGRESSION:
        return {**found, "value": numbers[0]}
    named = {f"p_{name}": values for name, values in zip(task.classes, numbers, strict=True)}
    return {**found, "label": prediction.labels, **named}


def entry(prediction: Prediction) -> dict[str, Any]:
    """Describe one record for JSON: labels and probabilities, or values."""
    task = prediction.task
    found: dict[str, Any] = {"name": prediction.name, "sequence": prediction.sequence}
    numbers = decimals(prediction.values)
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
def _table(path: Path, task: TaskInfo) -> Iterator[Write]:
    types: dict[str, type] = {"name": str}
    types |= (
        {"residues": int} if task.level is Level.SEQUENCE else {"position": int, "residue": str}
    )
    if task.kind is Kind.REGRESSION:
        types["value"] = float
    else:
        types |= {"label": str, **{f"p_{name}": float for name in task.classes}}
    with table_file(path, types, {"task": asdict(task)}) as write:
        yield lambda prediction: write(columns(prediction))


@contextmanager
def _fasta_file(path: Path, task: TaskInfo) -> Iterator[Write]:
    check_task(path, task)
    with path.open("w") as file:
        yield lambda prediction: file.write(f">{prediction.name}\n{''.join(prediction.labels)}\n")
