"""One result: a model with a seed on a split of a task, in a folder that is whole or not there.

``OUT/<task>/<split>/<model>/seed-<n>/`` holds ``result.json``, ``predictions.parquet``,
``test.png``, ``metrics.jsonl`` and, where a head was trained, ``training.png``.
"""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bionemo_ext import __version__
from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.recipes.finetune import evaluate
from bionemo_ext.recipes.finetune.epochs import EpochLog, Row
from bionemo_ext.recipes.finetune.prepare import PARTS, Prepared
from bionemo_ext.recipes.finetune.settings import FinetuneSettings
from bionemo_ext.recipes.finetune.show import show
from bionemo_ext.recipes.flip_benchmark.models import Model
from bionemo_ext.tasks.metrics import main_metric

RESULT = "result.json"
# The split's name where a file has its sets marked and there is none to choose.
_NO_SPLIT = "as-marked"


@dataclass(frozen=True)
class Cell:
    """One result to be had.

    Parameters
    ----------
    model : Model
        What learns.
    prepared : Prepared
        The task with its labels, cut to the model's limit.
    settings : FinetuneSettings
        How a head is trained; ``seed`` is this cell's.
    folder : Path
        Where the result goes.
    """

    model: Model
    prepared: Prepared
    settings: FinetuneSettings
    folder: Path

    def __str__(self) -> str:
        return f"{task_name(self.settings)}, {self.model.name}, seed {self.settings.seed}"

    def key(self) -> dict[str, Any]:
        """All that the result depends on: another model, other data or settings give another."""
        task, training = asdict(self.settings.task), asdict(self.settings.training)
        # Where the labels lie does not matter: their digest tells which they are.
        del task["data"]
        found = {
            "version": __version__,
            "model": self.model.identity(self.settings),
            "labels": _labels_digest(self.prepared),
            "task": task,
            "training": {**training, "lr": self.settings.lr},
            "seed": self.settings.seed,
        }
        plain: dict[str, Any] = json.loads(json.dumps(found))
        return plain


def split_name(settings: FinetuneSettings) -> str:
    """Name the split for folders and tables."""
    return settings.task.split or _NO_SPLIT


def task_name(settings: FinetuneSettings) -> str:
    """Name task and split for messages."""
    return f"{settings.task.name} {split_name(settings)}"


def finished(cell: Cell) -> dict[str, Any] | None:
    """Read the cell's result of an earlier run, if it is this very one."""
    try:
        result: dict[str, Any] = json.loads((cell.folder / RESULT).read_text())
    except (OSError, ValueError):
        return None
    return result if result.get("key") == cell.key() else None


def compute(cell: Cell, bar: Bar = silent) -> dict[str, Any]:
    """Learn, predict, score and write.

    Returns
    -------
    dict
        What ``result.json`` holds.
    """
    partial = cell.folder.with_name(f".{cell.folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        result = _fill(cell, partial, bar)
        shutil.rmtree(cell.folder, ignore_errors=True)
        partial.replace(cell.folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return result


def _fill(cell: Cell, folder: Path, bar: Bar) -> dict[str, Any]:
    began = time.monotonic()
    predicted = _predict(cell, folder, bar)
    seconds = time.monotonic() - began
    scores = evaluate.scores(cell.prepared, predicted, seed=0)
    show(folder, cell.prepared, predicted, scores)
    result = {
        "key": cell.key(),
        "task": cell.prepared.spec.name,
        "split": split_name(cell.settings),
        "model": cell.model.title(cell.prepared.spec.kind),
        "seed": cell.settings.seed,
        "fixed": cell.model.fixed(cell.prepared),
        "metric": main_metric(cell.prepared.spec.kind),
        "values": scores.values,
        "intervals": {name: list(ends) for name, ends in scores.intervals.items()},
        "counts": cell.prepared.data.counts,
        "seconds": round(seconds, 2),
    }
    (folder / RESULT).write_text(json.dumps(result, indent=2) + "\n")
    return result


def _predict(cell: Cell, folder: Path, bar: Bar) -> evaluate.Predictions:
    epochs = cell.settings.training.epochs
    with EpochLog(folder) as log, bar(str(cell), epochs, "epochs") as advance:

        def on_epoch(row: Row) -> None:
            log(row)
            advance(1)

        return cell.model.predict(cell.prepared, cell.settings, on_epoch, bar)


def _labels_digest(prepared: Prepared) -> str:
    digest = hashlib.sha256(repr(prepared.spec.classes).encode())
    for part in PARTS:
        for example in getattr(prepared.data, part):
            fields = (part, example.name, example.sequence, example.target, example.mask)
            digest.update(repr(fields).encode())
    return digest.hexdigest()
