"""The mixed model and the means, against what was published and independent fits."""

import os
import shutil
import subprocess

import numpy as np
import pytest

from bionemo_ext.errors import DataError
from bionemo_ext.study.results import read_results
from bionemo_ext.study.statistics import fit_mixed, means

PUBLISHED = {
    "mean": 0.367, "max": 0.333, "idct5": 0.304, "pca1": 0.287, "cls": 0.259, "idct1": 0.186,
}  # fmt: skip


@pytest.fixture(scope="module")
def published(shared_data):
    return read_results(shared_data / "dms" / "compression_results_esm2_150M.csv")


def test_the_published_means(published):
    table = means(published)
    for method, expected in PUBLISHED.items():
        assert table.loc[method, "r2"] == pytest.approx(expected, abs=0.001), method
    assert table.index[0] == "mean"
    assert (table["datasets"] == 40).all()


def test_a_balanced_design_has_a_closed_form(published):
    """Restricted maximum likelihood of balanced crossed factors is the analysis of variance."""
    table = published.assign(
        r2_test=published["r2_test"] + 0.1 * published["fold"]  # else the folds' variance is 0
    )
    found = fit_mixed(table, "mean")
    y, grand = table["r2_test"], table["r2_test"].mean()

    def squares(column):
        groups = table.groupby(column)["r2_test"]
        return float((groups.size() * (groups.mean() - grand) ** 2).sum())

    rest = float(((y - grand) ** 2).sum()) - sum(map(squares, ("method", "dataset", "fold")))
    residual = rest / (2800 - 1 - 13 - 39 - 4)
    expected = {
        "dataset": (squares("dataset") / 39 - residual) / 70,
        "fold": (squares("fold") / 4 - residual) / 560,
        "residual": residual,
    }
    assert found.variances == pytest.approx(expected, rel=2e-3)
    by_method = table.groupby("method")["r2_test"].mean()
    assert found.reference == found.contrasts.loc[0, "a"] == "mean"
    for method in by_method.index.drop("mean"):
        row = found.effects.loc[method]
        assert row["estimate"] == pytest.approx(by_method[method] - by_method["mean"], abs=1e-8)
        assert row["error"] == pytest.approx(np.sqrt(2 * residual / 200), rel=1e-3)


def test_contrasts_are_all_pairs_and_their_p_values_corrected(published):
    table = fit_mixed(published, "max").contrasts
    assert len(table) == 14 * 13 // 2
    assert (table["p_holm"] >= table["p"]).all()
    by_method = published.groupby("method")["r2_test"].mean()
    for row in table.itertuples():
        assert row.estimate == pytest.approx(by_method[row.a] - by_method[row.b], abs=1e-8)


def test_an_unbalanced_design_against_lme4(published, tmp_path):
    """Of R: with BIONEMO_EXT_LME4=install the test installs it from Debian."""
    if os.environ.get("BIONEMO_EXT_LME4") == "install":
        packages = ["r-base-core", "r-cran-lme4"]
        subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", *packages],
            check=True, capture_output=True,
        )  # fmt: skip
    has = shutil.which("Rscript") and subprocess.run(
        ["Rscript", "-e", "library(lme4)"], capture_output=True, check=False
    )
    if not has or has.returncode:
        pytest.skip("R with lme4 is not here; BIONEMO_EXT_LME4=install installs it from Debian")
    table = published.sample(frac=0.6, random_state=1)
    table.to_csv(tmp_path / "table.csv")
    script = """
    library(lme4)
    d <- read.csv("table.csv"); d$method <- relevel(factor(d$method), ref = "mean")
    m <- lmer(r2_test ~ method + (1|dataset) + (1|fold), data = d)
    write.csv(coef(summary(m)), "effects.csv")
    """
    subprocess.run(["Rscript", "-e", script], cwd=tmp_path, check=True, capture_output=True)
    import pandas as pd

    expected = pd.read_csv(tmp_path / "effects.csv", index_col=0)
    expected.index = expected.index.str.removeprefix("method")
    found = fit_mixed(table, "mean").effects
    assert set(found.index) == set(expected.index)
    for level, row in expected.iterrows():
        assert found.loc[level, "estimate"] == pytest.approx(row["Estimate"], abs=0.0005)
        assert found.loc[level, "error"] == pytest.approx(row["Std. Error"], rel=0.01)


def test_what_cannot_be_fitted_is_told(published, tmp_path):
    with pytest.raises(DataError, match="there is no method 'median'; there are mean, max"):
        fit_mixed(published, "median")
    with pytest.raises(DataError, match="two levels of method and two data sets"):
        fit_mixed(published[published["method"] == "mean"])
    (tmp_path / "x.csv").write_text("Model,Fold\nm,1\n")
    with pytest.raises(DataError, match="has no column dataset, method, r2_test"):
        read_results(tmp_path / "x.csv")
