"""The lasso with its strength chosen by cross-validation, for vectors longer than rows are many.

Letters: N proteins, D numbers a vector, A strengths.
"""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Lasso, lasso_path
from sklearn.model_selection import KFold

Floats = NDArray[Any]

# A correlation this much above alpha is a violation, and not the rounding of FP32.
_SLACK = 1e-4


class EndingLassoCV(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """As scikit-learn's LassoCV, but the path ends where the error has clearly risen again.

    Folds, strengths (A, from the one that leaves no coefficient down to a thousandth of it) and
    tolerance are LassoCV's. It differs in two things. Each strength is solved on the columns that
    may have a coefficient. And all inner folds take a step together, until their mean error is
    ``margin`` above the least: the weakest strengths, which a thousand iterations do not solve,
    take most of LassoCV's time and are not chosen then.

    Parameters
    ----------
    steps : int
        A.
    margin : float
        Share of the least mean error by which a later one is above it.
    folds : int
        Inner folds, of consecutive rows.
    max_iter : int
        Sweeps over the columns for one alpha.
    tol : float
        The duality gap that ends them, as a share of the target's sum of squares.

    Attributes
    ----------
    alpha_ : float
        The strength chosen.
    coef_ : NDArray
        [D].
    intercept_ : float
        Added to the products.
    mse_path_ : NDArray
        Mean squared error of the inner folds, of the steps that were taken.
    """

    def __init__(
        self,
        steps: int = 100,
        margin: float = 0.1,
        folds: int = 5,
        max_iter: int = 1000,
        tol: float = 1e-2,
    ) -> None:
        self.steps = steps
        self.margin = margin
        self.folds = folds
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, x: Floats, y: Floats) -> Self:
        """Choose the strength, and learn from all rows with it.

        Parameters
        ----------
        x : NDArray
            [N, D], FP32 or FP64, which is also the precision of the work.
        y : NDArray
            [N].
        """
        y = y.astype(x.dtype)
        strongest = np.abs((y - y.mean()) @ (x - x.mean(0))).max() / len(x)
        # A target that nothing goes with leaves no coefficient at any strength.
        alphas = np.geomspace(1, 1e-3, self.steps) * max(strongest, np.finfo(x.dtype).tiny)
        parts = KFold(self.folds).split(x)
        paths = [self._errors(x, y, train, test, alphas) for train, test in parts]
        errors: list[float] = []
        for of_folds in zip(*paths, strict=True):
            errors.append(float(np.mean(of_folds)))
            if errors[-1] > (1 + self.margin) * min(errors):
                break
        self.mse_path_ = np.array(errors)
        self.alpha_ = float(alphas[self.mse_path_.argmin()])
        model = Lasso(self.alpha_, max_iter=self.max_iter, tol=self.tol).fit(x, y)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        return self

    def predict(self, x: Floats) -> Floats:
        """Give [N] for [N, D]."""
        found: Floats = x @ self.coef_ + self.intercept_
        return found

    def _errors(
        self, x: Floats, y: Floats, train: Floats, test: Floats, alphas: Floats
    ) -> Iterator[float]:
        """Mean squared error of one inner fold's test part, a strength at a time."""
        x_mean, y_mean = x[train].mean(0), y[train].mean()
        path = _coefficients(x[train] - x_mean, y[train] - y_mean, alphas, self.tol, self.max_iter)
        centred, truth = x[test] - x_mean, y[test] - y_mean
        for coefficients in path:
            yield float(np.mean((centred @ coefficients - truth) ** 2))


def _coefficients(
    x: Floats, y: Floats, alphas: Floats, tol: float, max_iter: int
) -> Iterator[Floats]:
    """Solve the lasso for falling alphas, each on the columns that may have a coefficient.

    Columns are chosen by the sequential strong rule (Tibshirani et al., J. R. Stat. Soc. B 74,
    2012, doi 10.1111/j.1467-9868.2011.01004.x), solved by scikit-learn's coordinate descent, and
    held to the optimality conditions of all columns; those that violate them join, and it is solved
    again. So in the end the duality gap of all columns is below ``tol``, unless ``max_iter`` sweeps
    were too few: as it is without the rule.

    Parameters
    ----------
    x, y : NDArray
        [N, D] and [N], centred.
    alphas : NDArray
        [A], falling.
    tol, max_iter : float, int
        When coordinate descent ends.

    Yields
    ------
    NDArray
        [D] of each alpha; it is changed by the next.
    """
    rows, width = x.shape
    target = y @ x
    # With more rows than columns a sweep over the columns' products is the shorter one.
    products = x.T @ x if rows > width else None
    now = np.zeros(width, x.dtype)
    correlation = np.abs(target) / rows
    last = max(alphas[0], correlation.max())
    for alpha in alphas:
        columns = (correlation >= 2 * alpha - last) | (now != 0)
        while columns.any():
            part = np.asfortranarray(x[:, columns])
            _, solved, _ = lasso_path(
                part,
                y,
                alphas=[alpha],
                coef_init=now[columns],
                precompute=False if products is None else products[np.ix_(columns, columns)],
                Xy=target[columns],
                tol=tol,
                max_iter=max_iter,
                check_input=False,  # it would hold FP32 products to FP64's
            )
            now[columns] = solved[:, 0]
            correlation = np.abs((y - part @ solved[:, 0]) @ x) / rows
            violated = (correlation > alpha * (1 + _SLACK)) & ~columns
            if not violated.any():
                break
            columns |= violated
        yield now
        last = alpha
