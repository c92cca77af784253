"""Regress a property on vectors in nested cross-validation.

Letters: N proteins, D numbers a vector.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
# The study's: of its outer folds, and of LassoCV.
_SEED = 42

Floats = NDArray[np.float64]


class Protocol(str, Enum):
    """What a fold may know of its test part.

    ``INSIDE`` scales features by the training part alone. ``PUBLISHED`` repeats the published
    scripts, which scale by all rows: the test part leaks into the features.
    """

    INSIDE = "inside"
    PUBLISHED = "published"


class Regressor(str, Enum):
    """What learns."""

    LASSO = "lasso"
    RIDGE = "ridge"
    KNN = "knn"


@dataclass(frozen=True)
class FoldScore:
    """Scores of one outer fold.

    Parameters
    ----------
    fold : int
        From 1.
    train_rows : int
        Proteins that were learned from.
    r2_train, r2_test : float
        Coefficient of determination; below 0 is worse than the mean.
    mae_train, mae_test, rmse_train, rmse_test : float
        Mean absolute error and root of the mean squared error, in the target's unit.
    rho_train, rho_test : float
        Spearman's correlation of ranks, nan where a side is constant.
    nonzero_coefficients : int
        Of a linear regressor; 0 of k nearest neighbours.
    """

    fold: int
    train_rows: int
    r2_train: float
    mae_train: float
    rmse_train: float
    r2_test: float
    mae_test: float
    rmse_test: float
    rho_train: float
    rho_test: float
    nonzero_coefficients: int


def cross_validate(
    features: NDArray[np.float32],
    targets: Floats,
    regressor: Regressor = Regressor.LASSO,
    protocol: Protocol = Protocol.INSIDE,
    train_rows: int | None = None,
) -> Iterator[FoldScore]:
    """Score a regressor in five outer folds; whatever it chooses, it chooses inside a fold.

    Parameters
    ----------
    features : NDArray
        FP32 [N, D].
    targets : NDArray
        FP64 [N].
    regressor : Regressor
        Lasso with the study's settings (at most 1,000 iterations, tolerance 0.01, five inner
        folds), by :class:`bionemo_ext.study.lasso.EndingLassoCV` or, where ``protocol`` is
        published, by scikit-learn's LassoCV as the study has it; ridge with its strength by
        leave-one-out; k nearest neighbours with k by five inner folds.
    protocol : Protocol
        Where features are scaled to 0 to 1.
    train_rows : int, optional
        Learn from so many rows of each fold's training part, drawn by the fold's number.

    Yields
    ------
    FoldScore
    """
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, minmax_scale

    # Coordinate descent waits for memory: the encoder's own precision is half of it.
    x = features if regressor is Regressor.LASSO else features.astype(np.float64)
    if protocol is Protocol.PUBLISHED:
        x = minmax_scale(x)
    split = KFold(FOLDS, shuffle=True, random_state=_SEED).split(x)
    for fold, (train, test) in enumerate(split, start=1):
        if train_rows is not None:
            train = np.sort(np.random.default_rng(fold).permutation(train)[:train_rows])
        steps = [] if protocol is Protocol.PUBLISHED else [MinMaxScaler()]
        model = make_pipeline(*steps, _make(regressor, protocol))
        with warnings.catch_warnings():
            # A thousand iterations are the study's; the folds tell how good the result is.
            warnings.simplefilter("ignore", category=_not_converged())
            model.fit(x[train], targets[train])
        yield _score(fold, model, x[train], targets[train], x[test], targets[test])


def _make(regressor: Regressor, protocol: Protocol) -> Any:
    from sklearn.linear_model import LassoCV, RidgeCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsRegressor

    from bionemo_ext.study.lasso import EndingLassoCV

    if regressor is Regressor.LASSO and protocol is Protocol.PUBLISHED:
        return LassoCV(random_state=_SEED, max_iter=1000, tol=1e-2)
    if regressor is Regressor.LASSO:
        return EndingLassoCV(max_iter=1000, tol=1e-2)
    if regressor is Regressor.RIDGE:
        return RidgeCV(alphas=np.logspace(-3, 3, 13))
    neighbours = {"n_neighbors": [1, 2, 3, 5, 8, 13]}
    return GridSearchCV(KNeighborsRegressor(weights="distance"), neighbours, cv=FOLDS)


def _score(
    fold: int, model: Any, x_train: Floats, y_train: Floats, x_test: Floats, y_test: Floats
) -> FoldScore:
    train, test = (_metrics(y, model.predict(x)) for x, y in ((x_train, y_train), (x_test, y_test)))
    coefficients = getattr(model[-1], "coef_", np.zeros(0))
    return FoldScore(
        fold=fold,
        train_rows=len(y_train),
        nonzero_coefficients=int(np.count_nonzero(coefficients)),
        **{f"{name}_train": value for name, value in train.items()},
        **{f"{name}_test": value for name, value in test.items()},
    )


def _metrics(truth: Floats, said: Floats) -> dict[str, float]:
    from scipy.stats import spearmanr
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    constant = np.ptp(said) == 0 or np.ptp(truth) == 0
    return {
        "r2": float(r2_score(truth, said)),
        "mae": float(mean_absolute_error(truth, said)),
        "rmse": float(root_mean_squared_error(truth, said)),
        "rho": float("nan") if constant else float(spearmanr(truth, said).statistic),
    }


def _not_converged() -> type[Warning]:
    from sklearn.exceptions import ConvergenceWarning

    found: type[Warning] = ConvergenceWarning
    return found
