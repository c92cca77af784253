import numpy as np
import pytest

from bionemo_ext.tasks.metrics import classification_scores, regression_scores


def test_classification_by_hand():
    # Of class 0 two of three right, of class 1 one of one right.
    scores = classification_scores([0, 0, 0, 1], [0, 0, 1, 1])
    assert scores["accuracy"] == 0.75
    assert scores["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert scores["mcc"] == pytest.approx((2 * 1 - 1 * 0) / np.sqrt(2 * 3 * 1 * 2))


def test_regression_by_hand():
    scores = regression_scores(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]))
    assert scores == {"mse": pytest.approx(5 / 3), "spearman": pytest.approx(0.5)}
    assert regression_scores(np.array([1.0, 2.0]), np.array([1.0, 1.0]))["spearman"] == 0
