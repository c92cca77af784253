"""Scores against values by hand, and the bootstrap's formulas against scikit-learn and SciPy."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import spearmanr
from sklearn import metrics as sk

from bionemo_ext.contract import Kind, Level
from bionemo_ext.errors import DataError
from bionemo_ext.tasks import bootstrap
from bionemo_ext.tasks.metrics import Scores, main_metric, score

NAN = float("nan")


def one_hot(classes, count):
    return [np.eye(count, dtype=np.float32)[c] for c in classes]


def numbers(values):
    return [np.float32(x) for x in values]


def test_classes_by_hand():
    # Of class 0 two of three right, of class 1 one of one; class 2 is nowhere.
    got = score(
        Level.SEQUENCE,
        Kind.CLASSIFICATION,
        list(map(np.int64, [0, 0, 0, 1])),
        one_hot([0, 0, 1, 1], 3),
    )
    assert got.values == {
        "accuracy": 0.75,
        "macro_f1": pytest.approx((0.8 + 2 / 3) / 2),
        "mcc": pytest.approx(2 / np.sqrt(2 * 3 * 1 * 2)),
    }
    assert got.class_f1 == (pytest.approx(0.8), pytest.approx(2 / 3), None)


def test_masked_residues_do_not_count():
    truth = [np.array([0, -100, 1]), np.array([-100, -100]), np.array([1])]
    predicted = one_hot([[0, 1, 0], [1, 1], [1]], 2)
    got = score(Level.RESIDUE, Kind.CLASSIFICATION, truth, predicted)
    assert got.values["accuracy"] == pytest.approx(2 / 3)
    # Two proteins have labels: drawn are both, or one of them twice.
    assert got.intervals["accuracy"] == (0.5, 1.0)


def test_labels_by_hand():
    truth = [np.float32([[1, 0, 0], [NAN] * 3, [1, 1, 0]]), np.float32([[0, 1, 0]])]
    predicted = [np.float32([[0.5, 0.4, 0], [1, 1, 1], [0.2, 0.9, 0]]), np.float32([[0.1, 1, 0]])]
    got = score(Level.RESIDUE, Kind.MULTILABEL, truth, predicted)
    assert got.class_f1 == (pytest.approx(2 / 3), 1.0, None)
    assert got.values == {
        "macro_f1": pytest.approx((2 / 3 + 1) / 2),
        "micro_f1": pytest.approx(6 / 7),
        "mcc": pytest.approx((0.5 + 1 + 0) / 3),
    }
    only = score(Level.SEQUENCE, Kind.MULTILABEL, [x[0] for x in truth], [x[0] for x in predicted])
    assert only.class_f1 == (1.0, 1.0, None)


def test_numbers_by_hand():
    predicted = [np.float32([x]) for x in (1, 3, 2)]
    got = score(Level.SEQUENCE, Kind.REGRESSION, numbers([1, 2, 4]), predicted)
    assert got.values == {"mse": pytest.approx(5 / 3), "mae": 1.0, "spearman": pytest.approx(0.5)}
    same = score(Level.SEQUENCE, Kind.REGRESSION, numbers([1, 2]), [np.float32([1])] * 2)
    assert same.values["spearman"] == 0
    assert same.intervals["spearman"] == (0, 0)
    rows = score(
        Level.RESIDUE, Kind.REGRESSION, [np.float32([1, NAN, 2])], [np.float32([[1], [9], [4]])]
    )
    assert rows == Scores({"mse": 2.0, "mae": 1.0, "spearman": pytest.approx(1.0)})


@pytest.mark.parametrize(
    ("level", "truth", "predicted", "told"),
    [
        (Level.SEQUENCE, [np.int64(1)], [], "0 predictions for 1 proteins"),
        (Level.RESIDUE, [np.array([0, 1])], one_hot([[0]], 2), "protein 1 has the shape"),
        (Level.SEQUENCE, [np.int64(0)], [np.float32([NAN, 1])], "protein 1 is not finite"),
        (Level.RESIDUE, [np.array([-100])], one_hot([[0]], 2), "none has a label that counts"),
        (Level.SEQUENCE, [np.int64(2)], one_hot([0], 2), "class number 2"),
    ],
)
def test_what_cannot_be_scored(level, truth, predicted, told):
    with pytest.raises(DataError, match=told):
        score(level, Kind.CLASSIFICATION, truth, predicted)


def test_main_metric():
    kinds = (Kind.CLASSIFICATION, Kind.MULTILABEL, Kind.REGRESSION)
    assert [main_metric(kind) for kind in kinds] == ["accuracy", "macro_f1", "spearman"]


@st.composite
def resamples(draw, values):
    """Proteins of labels, how often each is drawn, and the labels that this makes."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    protein = np.repeat(np.arange(len(sizes)), sizes)
    truth, predicted = (draw(values(len(protein))) for _ in range(2))
    drawn = draw(st.lists(st.integers(0, len(sizes) - 1), min_size=len(sizes), max_size=len(sizes)))
    weights = np.bincount(drawn, minlength=len(sizes)).astype(float)
    labels = np.repeat(np.arange(len(protein)), weights[protein].astype(int))
    return (protein, truth, predicted), weights[None], truth[labels], predicted[labels]


def classes(size):
    return arrays.arrays(np.int64, size, elements=st.integers(0, 3))


def labels(size):
    return arrays.arrays(np.bool_, (size, 3))


def few_numbers(size):
    return arrays.arrays(np.float64, size, elements=st.integers(-3, 3).map(float))


def close(found, expected):
    assert {k: v.item() for k, v in found.items()} == pytest.approx(expected, abs=1e-12)


@given(resamples(classes))
def test_bootstrap_of_classes_is_scikit_learns(case):
    given_labels, weights, truth, predicted = case
    with warnings.catch_warnings(action="ignore"):
        expected = {
            "accuracy": sk.accuracy_score(truth, predicted),
            "macro_f1": sk.f1_score(truth, predicted, average="macro"),
            "mcc": sk.matthews_corrcoef(truth, predicted),
        }
    close(bootstrap.classification(*given_labels)(weights), expected)


@given(resamples(labels))
def test_bootstrap_of_labels_is_scikit_learns(case):
    given_labels, weights, truth, predicted = case
    with warnings.catch_warnings(action="ignore"):
        macro = sk.f1_score(truth, predicted, average="macro", zero_division=np.nan)
        each = [sk.matthews_corrcoef(t, p) for t, p in zip(truth.T, predicted.T, strict=True)]
        expected = {
            "macro_f1": 0 if np.isnan(macro) else macro,
            "micro_f1": sk.f1_score(truth, predicted, average="micro", zero_division=0),
            "mcc": np.mean(each),
        }
    close(bootstrap.multilabel(*given_labels)(weights), expected)


@given(resamples(few_numbers))
def test_bootstrap_of_numbers_is_scipys(case):
    given_labels, weights, truth, predicted = case
    constant = np.ptp(truth) == 0 or np.ptp(predicted) == 0
    expected = {
        "mse": sk.mean_squared_error(truth, predicted),
        "mae": sk.mean_absolute_error(truth, predicted),
        "spearman": 0 if constant else spearmanr(truth, predicted).statistic,
    }
    close(bootstrap.regression(*given_labels)(weights), expected)


def test_intervals_are_those_of_the_binomial():
    # 400 proteins, 300 right: the share of right ones in a resample is binomial.
    truth = [np.int64(0)] * 400
    got = score(
        Level.SEQUENCE,
        Kind.CLASSIFICATION,
        truth,
        one_hot([0] * 300 + [1] * 100, 2),
        resamples=20_000,
    )
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert got.intervals["accuracy"] == pytest.approx((0.75 - half, 0.75 + half), abs=0.003)


def test_proteins_are_drawn_not_residues():
    # Every residue of a protein is right, or none is: 200 independent facts and not 2,000.
    truth = [np.zeros(10, np.int64)] * 200
    predicted = one_hot([[i % 2] * 10 for i in range(200)], 2)
    low, high = score(Level.RESIDUE, Kind.CLASSIFICATION, truth, predicted).intervals["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 200), abs=0.015)


def test_the_seed_decides():
    predicted = [np.float32([x]) for x in np.random.default_rng(0).normal(size=50)]
    case = (Level.SEQUENCE, Kind.REGRESSION, numbers(range(50)), predicted)
    assert score(*case, seed=1) == score(*case, seed=1)
    assert score(*case, seed=1).intervals != score(*case, seed=2).intervals
    assert score(*case, resamples=0).intervals == {}


@pytest.mark.parametrize(
    ("level", "kind", "proteins", "limit_s"),
    [
        (Level.SEQUENCE, Kind.REGRESSION, 3000, 3),
        (Level.SEQUENCE, Kind.CLASSIFICATION, 3000, 3),
        (Level.RESIDUE, Kind.CLASSIFICATION, 650, 1),
    ],
)
def test_a_thousand_resamples_of_a_flip_test_set_are_quick(level, kind, proteins, limit_s):
    random = np.random.default_rng(0)
    shape = (250,) if level is Level.RESIDUE else ()
    if kind is Kind.REGRESSION:
        truth = list(random.normal(size=proteins))
        predicted = list(random.normal(size=(proteins, 1)))
    else:
        truth = list(random.integers(9, size=(proteins, *shape)))
        predicted = list(random.random((proteins, *shape, 9)))
    # CPU time: what else runs on the machine does not matter.
    began = time.process_time()
    score(level, kind, truth, predicted)
    assert time.process_time() - began < limit_s
