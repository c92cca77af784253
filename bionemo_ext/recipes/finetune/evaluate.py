"""How good a trained task is on its test proteins, and how good one gets without an encoder."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract import Kind
from bionemo_ext.data.progress import Advance
from bionemo_ext.inference.predictor import Predictor
from bionemo_ext.inference.task import TaskSpec
from bionemo_ext.recipes.finetune.features import Composition, Features, OneHot
from bionemo_ext.recipes.finetune.head_training import Examples, predict_all, train_head
from bionemo_ext.recipes.finetune.prepare import Prepared
from bionemo_ext.recipes.finetune.settings import FinetuneSettings
from bionemo_ext.tasks.metrics import Scores, score
from bionemo_ext.tasks.targets import IGNORED

Predictions = list[NDArray[np.float32]]


def scores(prepared: Prepared, predicted: Sequence[NDArray[np.float32]], seed: int) -> Scores:
    """Scores of predictions for the test proteins."""
    spec = prepared.spec
    return score(spec.level, spec.kind, prepared.targets.test, predicted, seed=seed)


def predict_test(
    predictor: Predictor, test: Examples, max_tokens: int, advance: Advance
) -> Predictions:
    """Predict the test proteins as the server would; ``advance`` is told of proteins."""
    found: dict[int, NDArray[np.float32]] = {}
    for indices, arrays in predictor.predict(test.sequences, max_tokens):
        found.update(zip(indices, arrays, strict=True))
        advance(len(indices))
    return [found[index] for index in range(len(test))]


def without_encoder(prepared: Prepared, settings: FinetuneSettings) -> Predictions:
    """What the same head predicts from one-hot residues; from their composition, of a sequence."""
    features: Features = OneHot() if prepared.spec.sees_residues else Composition()
    spec = replace(prepared.spec, input_size=features.width)
    head = train_head(
        spec,
        prepared.part("train"),
        prepared.part("validation"),
        features,
        settings.training,
        lr=settings.training.lr or 1e-3,
        seed=settings.seed,
        class_weights=settings.task.class_weights,
    )
    return predict_all(spec, head, prepared.part("test").sequences, features)


def constant_name(kind: Kind) -> str:
    """What predicting one thing always is called."""
    return "mean" if kind is Kind.REGRESSION else "majority"


def constant(prepared: Prepared) -> Predictions:
    """Always the training labels' shares, or their mean: what nothing is learned by."""
    spec, shapes = prepared.spec, [np.shape(t) for t in prepared.targets.test]
    answer = _shares(spec, prepared.targets.train)
    if spec.kind is Kind.MULTILABEL:  # the target's last axis is that of the labels
        shapes = [shape[:-1] for shape in shapes]
    return [np.broadcast_to(answer, (*shape, len(answer))) for shape in shapes]


def _shares(spec: TaskSpec, targets: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
    if spec.kind is Kind.CLASSIFICATION:
        labels = np.concatenate([np.atleast_1d(target) for target in targets])
        counts = np.bincount(labels[labels != IGNORED], minlength=len(spec.classes))
        return (counts / counts.sum()).astype(np.float32)
    if spec.kind is Kind.REGRESSION:
        return np.array([spec.mean], dtype=np.float32)
    rows = np.concatenate([np.atleast_2d(target) for target in targets])
    return np.nanmean(rows, axis=0, dtype=np.float64).astype(np.float32)
