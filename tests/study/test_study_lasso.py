"""The lasso that ends its path early: held to scikit-learn's, which does not."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, lasso_path

from bionemo_ext.study import lasso
from bionemo_ext.study.lasso import EndingLassoCV


def correlated(rows, columns, seed=0, noise=0.5):
    """Columns like those of an embedding: mixtures of a few, some of them all but the same."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, 12)) @ random.standard_normal((12, columns))
    x += 0.3 * random.standard_normal(x.shape)
    y = x[:, :4] @ [1.0, -1.0, 0.5, 2.0]
    return x, y + noise * y.std() * random.standard_normal(rows)


@pytest.mark.parametrize("shape", [(120, 30), (60, 300)])
def test_coefficients_are_those_of_all_columns(shape):
    x, y = correlated(*shape)
    x, y = x - x.mean(0), y - y.mean()
    alphas = np.geomspace(1, 1e-2, 40) * np.abs(y @ x).max() / len(x)
    ours = np.array([c.copy() for c in lasso._coefficients(x, y, alphas, 1e-9, 100_000)])
    _, theirs, _ = lasso_path(x, y, alphas=alphas, tol=1e-9, max_iter=100_000)
    np.testing.assert_allclose(x @ ours.T, x @ theirs, atol=1e-3 * y.std())
    # Optimal for every column, also for those that the rule left out.
    for alpha, coefficients in zip(alphas, ours, strict=True):
        correlation = (y - x @ coefficients) @ x / len(x)
        assert np.abs(correlation).max() <= alpha * 1.001


def test_columns_that_the_rule_left_out_wrongly_come_back(monkeypatch):
    """All columns are nearly one, and coefficients differ in sign: correlations change fast."""
    random = np.random.default_rng(2)
    x = np.sqrt(0.05) * random.standard_normal((30, 20))
    x += np.sqrt(0.95) * random.standard_normal((30, 1))
    y = x @ random.choice([-1, 1, 2, -3], 20)
    x, y = x - x.mean(0), y - y.mean()
    alphas = np.geomspace(1, 1e-3, 100) * np.abs(y @ x).max() / len(x)
    asked = []

    def spy(part, *args, **options):
        asked.append(options["alphas"][0])
        return lasso_path(part, *args, **options)

    monkeypatch.setattr(lasso, "lasso_path", spy)
    for alpha, found in zip(alphas, lasso._coefficients(x, y, alphas, 1e-9, 100_000), strict=True):
        assert np.abs((y - x @ found) @ x).max() / len(x) <= alpha * 1.001
    assert len(asked) > len(set(asked)), "the rule was right everywhere: nothing was tested"


@pytest.mark.parametrize(
    ("rows", "columns", "noise"),
    [(200, 40, 0.3), (100, 20, 3.0), (60, 100, 0.3), (80, 300, 3.0), (61, 59, 1.0)],
)
def test_the_strength_is_as_good_as_the_best_of_the_whole_path(rows, columns, noise):
    x, y = correlated(rows, columns, noise=noise)
    ours = EndingLassoCV(tol=1e-3).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = LassoCV(tol=1e-3).fit(x, y)
    errors = theirs.mse_path_.mean(1)
    taken = len(ours.mse_path_)
    np.testing.assert_allclose(ours.mse_path_, errors[:taken], rtol=0.02)
    step = np.abs(np.log(theirs.alphas_ / ours.alpha_)).argmin()
    assert theirs.alphas_[step] == pytest.approx(ours.alpha_, rel=1e-6)
    assert errors[step] <= 1.01 * errors.min()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_it_ends_where_the_error_has_risen_and_not_before():
    x, y = correlated(80, 300, noise=3.0)
    errors = EndingLassoCV(margin=0.05).fit(x, y).mse_path_
    assert len(errors) < 100
    assert errors[-1] > 1.05 * errors.min() >= errors[:-1].max() * (errors.argmin() == 0)
    assert len(EndingLassoCV(margin=np.inf).fit(x, y).mse_path_) == 100


def test_the_precision_is_that_of_the_vectors():
    x, y = correlated(80, 300)
    exact, single = EndingLassoCV().fit(x, y), EndingLassoCV().fit(x.astype(np.float32), y)
    assert (exact.coef_.dtype, single.coef_.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(single.predict(x), exact.predict(x), atol=0.01 * y.std())


def test_what_nothing_goes_with_is_its_mean():
    y = np.random.default_rng(0).standard_normal(50)
    for x in (np.zeros((50, 3)), np.ones((50, 80), np.float32)):
        model = EndingLassoCV().fit(x, y)
        np.testing.assert_allclose(model.predict(x), y.mean(), atol=1e-6)
        assert not model.coef_.any()
