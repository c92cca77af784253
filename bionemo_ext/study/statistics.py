"""What per-fold results say: means, a linear mixed-effects model, contrasts.

The model is R2 ~ method + (1|Dataset) + (1|Fold), fitted by restricted maximum likelihood, as the
study does with R's lme4.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo_ext.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class MixedModel:
    """A fitted model.

    Parameters
    ----------
    reference : str
        The level that the others are compared with.
    effects : DataFrame
        A row a level but the reference, by its name: ``estimate`` of its difference to the
        reference, ``error`` (standard error), ``z``, ``p``, ``p_holm`` (corrected over the
        levels), ``low`` and ``high`` (95%). The first, ``(Intercept)``, is the reference's mean.
    contrasts : DataFrame
        Every pair of levels: ``a``, ``b``, ``estimate`` of a - b, ``error``, ``z``, ``p``,
        ``p_holm``.
    variances : dict of str to float
        Of the random intercepts and of the residual.
    """

    reference: str
    effects: "pd.DataFrame"
    contrasts: "pd.DataFrame"
    variances: dict[str, float]


def means(results: "pd.DataFrame", factor: str = "method") -> "pd.DataFrame":
    """Average the test R2 of each level over data sets and folds.

    Returns
    -------
    DataFrame
        By level, the best first: ``r2``, ``error`` (standard error over data sets), ``datasets``.
    """
    by_set = results.groupby([factor, "dataset"], observed=True)["r2_test"].mean()
    groups = by_set.groupby(level=0, observed=True)
    table = groups.agg(["sem", "count"]).set_axis(["error", "datasets"], axis=1)
    table.insert(0, "r2", results.groupby(factor, observed=True)["r2_test"].mean())
    return table.sort_values("r2", ascending=False)


def fit_mixed(
    results: "pd.DataFrame", reference: str | None = None, factor: str = "method"
) -> MixedModel:
    """Fit R2 ~ factor + (1|Dataset) + (1|Fold).

    Parameters
    ----------
    results : DataFrame
        Columns ``r2_test``, ``dataset``, ``fold`` and the factor's.
    reference : str, optional
        A level of the factor; the one with the best mean when not given.

    Raises
    ------
    DataError
        If the factor has fewer than two levels or not this one, or there are fewer than two data
        sets.
    """
    levels = [str(level) for level in means(results, factor).index]
    reference = levels[0] if reference is None else reference
    if reference not in levels:
        raise DataError(f"there is no {factor} {reference!r}; there are {', '.join(levels)}")
    if len(levels) < 2 or results["dataset"].nunique() < 2:
        raise DataError(f"a mixed model needs two levels of {factor} and two data sets at least")
    order = [reference, *(level for level in levels if level != reference)]
    fitted = _fit(results, order, factor)
    estimates = fitted.fe_params.to_numpy()
    variances = dict(zip(fitted.model.exog_vc.names, map(float, fitted.vcomp), strict=True))
    variances["residual"] = float(fitted.scale)
    covariance = _covariance(fitted.model.exog, results, variances)
    return MixedModel(
        reference,
        _effects(order, estimates, covariance),
        _contrasts(order, estimates, covariance),
        variances,
    )


def _fit(results: "pd.DataFrame", order: list[str], factor: str) -> Any:
    """Crossed random intercepts are variance components of one single group to statsmodels."""
    import pandas as pd
    from statsmodels.regression.mixed_linear_model import MixedLM

    table = pd.DataFrame(
        {
            "r2": results["r2_test"].astype(float),
            "level": pd.Categorical(results[factor].astype(str), order),
            "dataset": results["dataset"].astype(str),
            "fold": results["fold"].astype(int),
        }
    )
    model = MixedLM.from_formula(
        "r2 ~ C(level)",
        groups=np.ones(len(table)),
        vc_formula={"dataset": "0 + C(dataset)", "fold": "0 + C(fold)"},
        re_formula="0",
        data=table,
    )
    with warnings.catch_warnings():
        # A variance of 0, as that of the folds often is, lies at the boundary, and is an answer;
        # there the curvature, which we do not use, means nothing.
        for message in ("The MLE may be on the boundary", "The Hessian matrix at the estimated"):
            warnings.filterwarnings("ignore", message)
        # By gradients it ends beside the maximum: at half the variance of the data sets.
        return model.fit(reml=True, method="powell")


def _covariance(
    exog: np.ndarray, results: "pd.DataFrame", variances: dict[str, float]
) -> np.ndarray:
    """Covariance of the fixed effects, (X' V^-1 X)^-1, with V inverted by Woodbury's identity."""
    import pandas as pd

    residual = variances["residual"]
    columns = [
        np.sqrt(variances[name] / residual) * pd.get_dummies(results[name]).to_numpy(float)
        for name in ("dataset", "fold")
    ]
    z = np.hstack(columns)  # V = residual * (I + Z Z')
    inner = np.linalg.solve(np.eye(z.shape[1]) + z.T @ z, z.T @ exog)
    return residual * np.linalg.inv(exog.T @ exog - exog.T @ z @ inner)


def _effects(order: list[str], estimates: np.ndarray, covariance: np.ndarray) -> "pd.DataFrame":
    import pandas as pd

    errors = np.sqrt(np.diag(covariance))
    table = _tested(pd.DataFrame({"estimate": estimates, "error": errors}))
    table.index = pd.Index(["(Intercept)", *order[1:]], name="level")
    # The intercept is no comparison: it is not counted among the tests.
    table["p_holm"] = [table["p"].iloc[0], *_holm(table["p"].to_numpy()[1:])]
    table["low"] = table["estimate"] - 1.96 * table["error"]
    table["high"] = table["estimate"] + 1.96 * table["error"]
    return table


def _contrasts(order: list[str], estimates: np.ndarray, covariance: np.ndarray) -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for i, a in enumerate(order):
        for j in range(i + 1, len(order)):
            weights = np.zeros(len(order))
            weights[i], weights[j] = float(i > 0), -1.0  # the intercept stands in both means
            variance = weights @ covariance @ weights
            rows.append((a, order[j], weights @ estimates, np.sqrt(variance)))
    table = _tested(pd.DataFrame(rows, columns=["a", "b", "estimate", "error"]))
    table["p_holm"] = _holm(table["p"].to_numpy())
    return table


def _tested(table: "pd.DataFrame") -> "pd.DataFrame":
    from scipy.stats import norm

    table["z"] = table["estimate"] / table["error"]
    table["p"] = 2 * norm.sf(table["z"].abs())
    return table


def _holm(p: np.ndarray) -> np.ndarray:
    from statsmodels.stats.multitest import multipletests

    corrected: np.ndarray = multipletests(p, method="holm")[1]
    return corrected
