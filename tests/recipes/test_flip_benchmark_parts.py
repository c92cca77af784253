"""Ridge regression on one-hot positions, the table's figures and the picture of a split."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from bionemo_ext.recipes.flip_benchmark.plots import split_figure
from bionemo_ext.recipes.flip_benchmark.ridge import of_one_length, ridge_predictions
from bionemo_ext.recipes.flip_benchmark.table import Row, Summary, markdown, summarise


def result(task, split, model, seed, **values):
    intervals = {name: [value - 0.1 * (seed + 1), value + 0.1] for name, value in values.items()}
    return {
        "task": task, "split": split, "model": model, "seed": seed, "metric": next(iter(values)),
        "values": values, "intervals": intervals, "seconds": 2.0 * seed,
        "counts": {"train": 1200, "validation": 1, "test": 2},
    }  # fmt: skip


def test_ridge_is_that_of_all_positions():
    random = np.random.default_rng(0)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    wild = random.choice(letters, 30)

    def variants(count):
        found = np.tile(wild, (count, 1))
        for site in (3, 9, 20, 21):
            found[:, site] = random.choice(letters, count)
        return found

    train, test = variants(200), variants(50)
    effects = {letter: random.normal() for letter in letters}
    targets = [np.float32(sum(effects[x] for x in row[[3, 9, 20]])) for row in train]
    got = ridge_predictions(["".join(x) for x in train], targets, ["".join(x) for x in test])

    def one_hot(rows):
        return (rows[:, :, None] == np.array(letters)).reshape(len(rows), -1).astype(float)

    expected = RidgeCV(alphas=np.logspace(-3, 4, 15)).fit(one_hot(train), targets)
    np.testing.assert_allclose(np.concatenate(got), expected.predict(one_hot(test)), atol=1e-4)
    assert got[0].shape == (1,)
    truth = [sum(effects[x] for x in row[[3, 9, 20]]) for row in test]
    assert np.corrcoef(truth, np.concatenate(got))[0, 1] > 0.99
    assert of_one_length(["MK", "ML"])
    assert not of_one_length(["MK", "MLV"])


def test_seeds_become_a_mean_with_its_spread():
    rows = summarise(
        [
            result("gb1", "two_vs_rest", "esm", 0, spearman=0.5, mse=1.0),
            result("gb1", "two_vs_rest", "esm", 1, spearman=0.7, mse=2.0),
            result("gb1", "sampled", "esm", 0, spearman=0.9, mse=3.0),
        ]
    )
    assert [row.is_published for row in rows] == [False, *[True] * 5, False]
    found = rows[0].scores["spearman"]
    assert (found.mean, found.spread) == (pytest.approx(0.6), pytest.approx(0.2))
    assert found.deviation == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert found.interval == (pytest.approx((0.4 + 0.5) / 2), pytest.approx((0.6 + 0.8) / 2))
    assert rows[0].seconds == 1.0
    assert rows[-1].scores["mse"] == Summary(3.0, None, None, (2.9, 3.1), (3.0,))
    text = markdown(rows, ["scl mixed_soft: there is no file"])
    assert "| model | Spearman | spread | 95% | MSE | seconds |" in text
    assert "| esm | 0.600 ± 0.141 | 0.200 | 0.450 to 0.700 | 1.500 | 1.0 |" in text
    assert "| ESM-2 15B (published) |  |  |  | 1.520 |  |" in text
    assert "Proteins: 1,200 train, 1 validation, 2 test." in text
    assert "## Failed\n\n- scl mixed_soft: there is no file\n" in text


def test_a_split_as_a_picture():
    one = Summary(0.6, 0.1, 0.2, (0.4, 0.8), (0.5, 0.7))
    ours = Row("gb1", "two_vs_rest", "esm", "spearman", {"spearman": one, "mse": one})
    theirs = Row(
        "gb1", "two_vs_rest", "ESM-2 3B", "spearman",
        {"mse": Summary(1.64, None, None, None, (1.64,))}, is_published=True,
    )  # fmt: skip
    figure = split_figure([ours, theirs], "gb1")
    spearman, mse = figure.axes
    assert (spearman.get_xlabel(), mse.get_xlabel()) == ("Spearman", "MSE, lower is better")
    assert [bar.get_width() for bar in spearman.patches] == [0.6]
    assert [text.get_text() for text in mse.texts] == ["0.600", "ESM-2 3B, published 1.64"]
    assert [1.64, 1.64] in [list(line.get_xdata()) for line in mse.lines]
