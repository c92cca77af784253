"""Predictions of the test proteins for people and programs to look at."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.recipes.finetune.epochs import METRICS
from bionemo_ext.recipes.finetune.plots import result_figure, save_figure, training_figure
from bionemo_ext.recipes.finetune.predictions import Predicted, write_predictions
from bionemo_ext.recipes.finetune.prepare import Prepared
from bionemo_ext.tasks.metrics import Scores


def show(
    folder: Path, prepared: Prepared, predicted: Sequence[NDArray[np.float32]], found: Scores
) -> None:
    """Write ``predictions.parquet``, ``test.png`` and ``training.png`` to a task's folder.

    Parameters
    ----------
    folder : Path
        Which has ``metrics.jsonl``, empty where nothing was trained by epochs.
    prepared : Prepared
        The task.
    predicted : sequence of array
        Of the test proteins.
    found : Scores
        Of these predictions.
    """
    spec, test, truth = prepared.spec, prepared.data.test, prepared.targets.test
    rows = (
        Predicted(example.name, example.sequence, true, raw)
        for example, true, raw in zip(test, truth, predicted, strict=True)
    )
    write_predictions(folder / "predictions.parquet", spec.info, rows)
    figure = result_figure(spec.info, truth, predicted, found, mean=spec.mean)
    save_figure(figure, folder / "test.png")
    epochs = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    if epochs:
        save_figure(training_figure(epochs, spec.name), folder / "training.png")
