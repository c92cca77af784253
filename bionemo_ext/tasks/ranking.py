"""How well scores rank variants, by ProteinGym's metrics.

Spearman, AUC, MCC, NDCG and top recall as the substitution benchmark defines them (Notin et al.,
NeurIPS 2023 Datasets and Benchmarks, doi 10.1101/2023.12.07.570727): a variant counts as fit when
its measurement does, and as predicted fit when its score is at least the scores' median. Higher is
better in both.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

METRICS = ("spearman", "auc", "mcc", "ndcg", "top_recall")
# Share of the variants that are the best ones.
_TOP = 0.1


def ranking_scores(
    measured: Floats, scores: Floats, fit: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Compare scores with measurements.

    Parameters
    ----------
    measured : NDArray
        What the experiment gave, FP64 [N].
    scores : NDArray
        What the model gave, FP64 [N].
    fit : NDArray, optional
        Which variants are fit, [N]; those at or above the measurements' median when not given, as
        most of the benchmark's own were cut.

    Returns
    -------
    dict of str to float
        :data:`METRICS`; nan where one is not defined: a side is constant, or all or none are fit.
    """
    from scipy.stats import rankdata

    if fit is None:
        fit = measured >= np.median(measured)
    found = dict.fromkeys(METRICS, float("nan"))
    if np.ptp(measured) > 0:
        found["ndcg"] = normalised_gain(measured, scores)
        found["top_recall"] = top_recall(measured, scores)
    ranks = rankdata(scores)
    if np.ptp(measured) > 0 and np.ptp(scores) > 0:
        found["spearman"] = float(np.corrcoef(rankdata(measured), ranks)[0, 1])
    if fit.any() and not fit.all():
        # Mann and Whitney's statistic; scikit-learn's own is ten times as slow, and is drawn often.
        best, rest = int(fit.sum()), int((~fit).sum())
        found["auc"] = float((ranks[fit].sum() - best * (best + 1) / 2) / (best * rest))
        said = scores >= np.median(scores)
        # Of two labels Matthews' correlation is Pearson's; a constant side has none, which is 0.
        found["mcc"] = 0.0 if said.all() else float(np.corrcoef(fit, said)[0, 1])
    return found


def normalised_gain(measured: Floats, scores: Floats) -> float:
    """Normalised discounted cumulative gain of the best tenth by score.

    Gains are the measurements scaled to 0 to 1, discounted by log2(rank + 1).
    """
    count = int(_TOP * len(measured))
    if count == 0:
        return float("nan")
    gains = (measured - measured.min()) / np.ptp(measured)
    discount = 1 / np.log2(np.arange(2, count + 2))
    by_score = gains[np.argsort(-scores, kind="stable")[:count]]
    return float(by_score @ discount / (np.sort(gains)[::-1][:count] @ discount))


def top_recall(measured: Floats, scores: Floats) -> float:
    """Share of the best tenth by measurement that is in the best tenth by score."""
    best, said = (values >= np.quantile(values, 1 - _TOP) for values in (measured, scores))
    return float((best & said).sum() / best.sum())


def ranking_intervals(
    measured: Floats,
    scores: Floats,
    fit: NDArray[np.bool_] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals over variants.

    Parameters are those of :func:`ranking_scores`; the cut between fit and unfit is that of all
    variants. The same seed gives the same intervals.
    """
    if fit is None:
        fit = measured >= np.median(measured)
    random = np.random.default_rng(seed)
    drawn: list[Mapping[str, float]] = []
    for _ in range(resamples):
        rows = random.integers(len(measured), size=len(measured))
        drawn.append(ranking_scores(measured[rows], scores[rows], fit[rows]))
    ends = (50 * (1 - level), 50 * (1 + level))
    return {
        name: tuple(np.nanpercentile([one[name] for one in drawn], ends).tolist())
        if any(one[name] == one[name] for one in drawn)
        else (float("nan"), float("nan"))
        for name in METRICS
    }
