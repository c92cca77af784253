"""Percentile bootstrap over proteins.

Residues of one protein are not independent, so proteins are what is drawn (Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapter 13). A resample is how often each protein was drawn,
and every score is a function of these weights: predictions are looked at once.
Letters: R resamples, N proteins, M labels (a sequence or a residue each), C classes, G groups of
equal values.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
# Scores [R] of resamples by their names, from weights [R, N].
Statistic = Callable[[Floats], dict[str, Floats]]

# Numbers in one array of a chunk of resamples: 16 MB.
_CHUNK = 2**21


def intervals(
    statistic: Statistic,
    proteins: int,
    labels: int,
    *,
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the scores that ``statistic`` gives.

    Parameters
    ----------
    statistic : Statistic
        Scores from weights, as the functions of this module make it.
    proteins : int
        N, independent units to draw from.
    labels : int
        M, which bounds the memory of a chunk of resamples.
    resamples : int
        R.
    seed : int
        The same seed gives the same intervals.
    level : float
        Coverage.

    Returns
    -------
    dict of str to (float, float)
        Lower and upper end by score.
    """
    chunk = max(1, _CHUNK // max(proteins, labels))
    found = [statistic(weights) for weights in _weights(proteins, resamples, chunk, seed)]
    ends = (50 * (1 - level), 50 * (1 + level))
    drawn = {name: np.concatenate([scores[name] for scores in found]) for name in found[0]}
    return {name: tuple(np.percentile(x, ends).tolist()) for name, x in drawn.items()}


def _weights(proteins: int, resamples: int, chunk: int, seed: int) -> Iterator[Floats]:
    """How often each protein was drawn [R, N], in chunks; every row sums to N."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = random.integers(proteins, size=(rows, proteins))
        drawn += proteins * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * proteins)
        yield counts.reshape(rows, proteins).astype(np.float64)


def classification(protein: Integers, truth: Integers, predicted: Integers) -> Statistic:
    """Accuracy, macro F1 and Matthews' correlation of class numbers.

    As scikit-learn's: F1 is averaged over the classes that the resample's truth or predictions
    have, the correlation is that of Gorodkin (2004) for any number of classes, and what would be
    divided by zero is 0.

    Parameters
    ----------
    protein, truth, predicted : array [M]
        Whose label it is, and the class it has and was given.
    """
    classes = int(max(truth.max(), predicted.max())) + 1
    right = truth == predicted
    correct = _sums(protein[right], truth[right], classes, protein)
    has, given = (_sums(protein, labels, classes, protein) for labels in (truth, predicted))

    def scores(weights: Floats) -> dict[str, Floats]:
        hits, true, guessed = weights @ correct, weights @ has, weights @ given
        total, right = true.sum(1), hits.sum(1)
        covariance = right * total - (true * guessed).sum(1)
        spread = (total**2 - (true**2).sum(1)) * (total**2 - (guessed**2).sum(1))
        return {
            "accuracy": right / total,
            "macro_f1": _mean_f1(hits, true + guessed),
            "mcc": _ratio(covariance, np.sqrt(spread)),
        }

    return scores


def multilabel(
    protein: Integers, truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
) -> Statistic:
    """Macro and micro F1, and Matthews' correlation averaged over the labels.

    As scikit-learn's with ``zero_division=nan`` for the macro F1: labels that neither the
    resample's truth nor its predictions have are left out. A constant label's correlation is 0.

    Parameters
    ----------
    protein : array [M]
        Whose labels a row has.
    truth, predicted : array [M, C]
        Labels that are there.
    """
    rows = _sums(protein, np.arange(len(protein)), len(protein), protein)
    correct, has, given = (
        rows @ x.astype(np.float64) for x in (truth & predicted, truth, predicted)
    )
    size = np.bincount(protein).astype(np.float64)

    def scores(weights: Floats) -> dict[str, Floats]:
        hits, true, guessed = weights @ correct, weights @ has, weights @ given
        total = (weights @ size)[:, None]
        covariance = total * hits - true * guessed
        spread = true * (total - true) * guessed * (total - guessed)
        return {
            "macro_f1": _mean_f1(hits, true + guessed),
            "micro_f1": _ratio(2 * hits.sum(1), (true + guessed).sum(1)),
            "mcc": _ratio(covariance, np.sqrt(spread)).mean(1),
        }

    return scores


def regression(protein: Integers, truth: Floats, predicted: Floats) -> Statistic:
    """Mean squared and mean absolute error, and Spearman's correlation of ranks.

    Ranks, ties averaged, are those within the resample; the correlation of a constant side is 0.

    Parameters
    ----------
    protein, truth, predicted : array [M]
        Whose number it is, and what it is and was said to be.
    """
    size = np.bincount(protein).astype(np.float64)
    squared, absolute = (
        np.bincount(protein, weights=x) for x in ((predicted - truth) ** 2, abs(predicted - truth))
    )
    sides = [_groups(protein, values) for values in (truth, predicted)]

    def scores(weights: Floats) -> dict[str, Floats]:
        total = weights @ size
        (true, true_spread), (said, said_spread) = (
            _centred_ranks(weights, total, *side) for side in sides
        )
        true *= said
        true *= weights[:, protein]
        return {
            "mse": weights @ squared / total,
            "mae": weights @ absolute / total,
            "spearman": _ratio(true.sum(1), np.sqrt(true_spread * said_spread)),
        }

    return scores


def _sums(rows: Integers, columns: Integers, width: int, protein: Integers) -> csr_array:
    """Count pairs of row and column: [N, width]."""
    shape = (int(protein.max()) + 1, width)
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)


def _groups(protein: Integers, values: Floats) -> tuple[Integers, Integers, Integers]:
    """Proteins [M] by ascending value, where a group of equal values begins [G], its number [M]."""
    order = values.argsort()
    _, starts, group = np.unique(values[order], return_index=True, return_inverse=True)
    of_label = np.empty_like(order)
    of_label[order] = group
    return protein[order], starts, of_label


def _centred_ranks(
    weights: Floats, total: Floats, ascending: Integers, starts: Integers, group: Integers
) -> tuple[Floats, Floats]:
    """Ranks [R, M] within the resample less their mean, and the sum [R] of their squares."""
    sizes = np.add.reduceat(weights[:, ascending], starts, axis=1)
    # The ranks of a group are averaged: half of it lies below the rank.
    ranks = sizes.cumsum(1) - sizes / 2 - total[:, None] / 2
    return ranks[:, group], (sizes * ranks**2).sum(1)


def _mean_f1(hits: Floats, marked: Floats) -> Floats:
    """F1 [R] averaged over the classes that occur, from [R, C]."""
    return _ratio(_ratio(2 * hits, marked).sum(1), (marked > 0).sum(1))


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
