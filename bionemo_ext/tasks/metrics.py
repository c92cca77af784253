"""Scores of predictions, by scikit-learn and SciPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error


def classification_scores(truth: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """Accuracy, F1 averaged over the classes, and Matthews' correlation."""
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
        "mcc": float(matthews_corrcoef(truth, predicted)),
    }


def regression_scores(
    truth: NDArray[np.float64], predicted: NDArray[np.float64]
) -> dict[str, float]:
    """Mean squared error, and Spearman's rank correlation (0 where a side is constant)."""
    constant = np.ptp(truth) == 0 or np.ptp(predicted) == 0
    return {
        "mse": float(mean_squared_error(truth, predicted)),
        "spearman": 0.0 if constant else float(spearmanr(truth, predicted).statistic),
    }
