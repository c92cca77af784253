"""Scores of predictions by scikit-learn and SciPy, with bootstrap intervals over proteins.

Letters: N proteins, M labels that count, L residues, C classes or labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    matthews_corrcoef,
    mean_absolute_error,
    mean_squared_error,
)

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import DataError
from bionemo_ext.tasks import bootstrap

# From this probability a label is predicted.
THRESHOLD = 0.5


@dataclass(frozen=True)
class Scores:
    """How good predictions are.

    Parameters
    ----------
    values : dict of str to float
        Classification: accuracy, macro_f1, mcc. Multi-label: macro_f1, micro_f1, mcc (the mean
        over the labels). Regression: mse and mae in the target's unit, spearman.
    intervals : dict of str to (float, float)
        95% of the bootstrap over proteins; empty where there is one protein or none was asked for.
    class_f1 : tuple of (float or None)
        F1 of each class or label in the order of the outputs, None where it neither occurs nor is
        predicted; empty for a regression.
    """

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    class_f1: tuple[float | None, ...] = ()


def main_metric(kind: Kind) -> str:
    """Name the score that leads: accuracy, macro F1 (labels are mostly absent) or Spearman's."""
    return {
        Kind.CLASSIFICATION: "accuracy",
        Kind.MULTILABEL: "macro_f1",
        Kind.REGRESSION: "spearman",
    }[kind]


def score(
    level: Level,
    kind: Kind,
    truth: Sequence[NDArray[np.generic]],
    predicted: Sequence[NDArray[np.floating]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Scores:
    """Score predictions; residues count alike, whatever protein they belong to.

    Parameters
    ----------
    level, kind : Level, Kind
        What was predicted.
    truth : sequence of array
        One a protein. Classification: class number [] or [L], negative where it does not count;
        multi-label: 0 or 1, [C] or [L, C]; regression: [] or [L]. NaN does not count.
    predicted : sequence of array
        One a protein. Probabilities [C] or [L, C], or numbers in the target's unit [1] or [L, 1].
        The class of the highest probability is the predicted one, the first where several are;
        labels are predicted from a probability of 0.5.
    resamples : int
        Of the bootstrap; 0 for none.
    seed : int
        Of the bootstrap.

    Raises
    ------
    DataError
        If no label counts, or a prediction is not finite or of another shape than its protein's
        labels.

    Notes
    -----
    The macro F1 is averaged over the classes that truth or predictions have, as scikit-learn does
    for classes. A correlation with a constant side is 0.
    """
    protein, true, raw = counted_labels(level, kind, truth, predicted)
    if kind is Kind.CLASSIFICATION:
        guessed = raw.argmax(1)
        values, class_f1 = _classification(true, guessed, raw.shape[1])
        statistic = bootstrap.classification(protein, true, guessed)
    elif kind is Kind.MULTILABEL:
        true, guessed = true > 0, raw >= THRESHOLD
        values, class_f1 = _multilabel(true, guessed)
        statistic = bootstrap.multilabel(protein, true, guessed)
    else:
        values, class_f1 = _regression(true, raw[:, 0]), ()
        statistic = bootstrap.regression(protein, true, raw[:, 0])
    proteins = int(protein[-1]) + 1
    if proteins < 2 or resamples < 1:
        return Scores(values, {}, class_f1)
    intervals = bootstrap.intervals(
        statistic, proteins, len(protein), resamples=resamples, seed=seed
    )
    return Scores(values, intervals, class_f1)


def counted_labels(
    level: Level,
    kind: Kind,
    truth: Sequence[NDArray[np.generic]],
    predicted: Sequence[NDArray[np.floating]],
) -> tuple[NDArray[np.int64], NDArray[np.generic], NDArray[np.float64]]:
    """Gather the labels that count.

    Parameters
    ----------
    level, kind, truth, predicted
        As :func:`score` takes them.

    Returns
    -------
    protein : array [M]
        Whose label it is; numbers from 0 without a gap, ascending.
    truth : array [M] or [M, C]
        Class number, labels or number.
    predicted : array [M, C]
        Probabilities, or a number [M, 1].

    Raises
    ------
    DataError
        As :func:`score`.
    """
    if len(truth) != len(predicted):
        raise DataError(f"{len(predicted)} predictions for {len(truth)} proteins")
    if level is Level.SEQUENCE:
        truth, predicted = ([np.asarray(x)[None] for x in side] for side in (truth, predicted))
    for number, (true, raw) in enumerate(zip(truth, predicted, strict=True), start=1):
        expected = true.shape if kind is Kind.MULTILABEL else (*true.shape, raw.shape[-1])
        if raw.shape != expected:
            raise DataError(
                f"the prediction of protein {number} has the shape {raw.shape}, its labels "
                f"{true.shape}"
            )
        if not np.isfinite(raw).all():
            raise DataError(f"the prediction of protein {number} is not finite")
    counts = [_counted(kind, true) for true in truth]
    sizes = [int(rows.sum()) for rows in counts]
    if not sum(sizes):
        raise DataError(f"of {len(truth)} proteins none has a label that counts")
    # A protein without such a label is none of those that the bootstrap draws from.
    protein = np.repeat(np.arange(np.count_nonzero(sizes)), [size for size in sizes if size])
    true, raw = (
        np.concatenate([x[rows] for x, rows in zip(side, counts, strict=True)])
        for side in (truth, predicted)
    )
    kept = np.int64 if kind is Kind.CLASSIFICATION else np.float64
    return protein, true.astype(kept), raw.astype(np.float64)


def _counted(kind: Kind, true: NDArray[np.generic]) -> NDArray[np.bool_]:
    if kind is Kind.CLASSIFICATION:
        return true >= 0
    known = ~np.isnan(true)
    return known.all(1) if kind is Kind.MULTILABEL else known


def _classification(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> tuple[dict[str, float], tuple[float | None, ...]]:
    if truth.max() >= classes:
        raise DataError(f"class number {truth.max()} where predictions have {classes} classes")
    values = {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, average="macro")),
        "mcc": _correlation(truth, predicted),
    }
    each = f1_score(truth, predicted, average=None, labels=range(classes), zero_division=np.nan)
    return values, _or_none(each)


def _multilabel(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
) -> tuple[dict[str, float], tuple[float | None, ...]]:
    each = [f1_score(t, p, zero_division=np.nan) for t, p in zip(truth.T, predicted.T, strict=True)]
    values = {
        "macro_f1": 0.0 if np.isnan(each).all() else float(np.nanmean(each)),
        "micro_f1": float(f1_score(truth.ravel(), predicted.ravel(), zero_division=0)),
        "mcc": float(np.mean(list(map(_correlation, truth.T, predicted.T)))),
    }
    return values, _or_none(each)


def _correlation(truth: NDArray[np.generic], predicted: NDArray[np.generic]) -> float:
    constant = (truth == truth[0]).all() or (predicted == predicted[0]).all()
    return 0.0 if constant else float(matthews_corrcoef(truth, predicted))


def _regression(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    constant = np.ptp(truth) == 0 or np.ptp(predicted) == 0
    return {
        "mse": float(mean_squared_error(truth, predicted)),
        "mae": float(mean_absolute_error(truth, predicted)),
        "spearman": 0.0 if constant else float(spearmanr(truth, predicted).statistic),
    }


def _or_none(scores: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(x) else float(x) for x in scores)
