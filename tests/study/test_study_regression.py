"""Nested cross-validation: what it learns, and that nothing leaks."""

import numpy as np
import pytest

from bionemo_ext.study.datasets import Dataset
from bionemo_ext.study.regression import Protocol, Regressor, cross_validate


@pytest.fixture(scope="module")
def linear():
    random = np.random.default_rng(0)
    x = random.standard_normal((150, 20)).astype(np.float32)
    return x, x[:, :3] @ [3.0, -2.0, 1.0] + 0.1 * random.standard_normal(150)


@pytest.mark.parametrize("regressor", list(Regressor))
def test_what_can_be_learned_is_learned(linear, regressor):
    scores = list(cross_validate(*linear, regressor))
    assert [score.fold for score in scores] == [1, 2, 3, 4, 5]
    assert all(score.train_rows == 120 for score in scores)
    worst = 0.3 if regressor is Regressor.KNN else 0.98
    assert all(worst < score.r2_test <= 1 and score.rho_test > 0.6 for score in scores)
    if regressor is Regressor.LASSO:
        assert all(3 <= score.nonzero_coefficients < 20 for score in scores)


@pytest.mark.parametrize("regressor", list(Regressor))
def test_from_noise_nothing_is_learned(regressor):
    """Also with more numbers than proteins; a leak of the test part would show."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(4):
        x = random.standard_normal((100, 300)).astype(np.float32)
        y = random.standard_normal(100)
        found += [score.r2_test for score in cross_validate(x, y, regressor)]
    assert np.mean(found) - 1.96 * np.std(found) / np.sqrt(len(found)) < 0


def test_scaling_is_learned_inside_the_fold(linear):
    """A protein far off moves the scale of the folds that learn from it, and of no other."""
    x, y = linear
    far = x.copy()
    test_of_first = _test_rows(len(x))
    far[test_of_first[0]] = 1e6
    inside = next(cross_validate(far, y, Regressor.RIDGE))
    assert inside.r2_train == next(cross_validate(x, y, Regressor.RIDGE)).r2_train
    leaky = next(cross_validate(far, y, Regressor.RIDGE, Protocol.PUBLISHED))
    assert leaky.r2_train < 0.5 < inside.r2_train


def _test_rows(count):
    from sklearn.model_selection import KFold

    return next(KFold(5, shuffle=True, random_state=42).split(np.zeros(count)))[1]


def test_a_sample_is_a_part_of_the_training_rows(linear):
    scores = list(cross_validate(*linear, train_rows=30))
    assert all(score.train_rows == 30 for score in scores)
    whole = list(cross_validate(*linear))
    assert np.mean([s.r2_test for s in scores]) < np.mean([s.r2_test for s in whole])
    assert scores == list(cross_validate(*linear, train_rows=30))


def test_a_constant_prediction_has_no_correlation():
    random = np.random.default_rng(2)
    x, y = np.zeros((50, 3), dtype=np.float32), random.standard_normal(50)
    score = next(cross_validate(x, y))
    assert np.isnan(score.rho_test)
    assert score.r2_test <= 0


def test_a_protein_is_not_in_training_and_in_test():
    """Vectors that tell nothing but which protein it is: of repeated ones the target is known."""
    random = np.random.default_rng(3)
    proteins = np.repeat([f"M{'A' * i}" for i in range(40)], 5)
    vectors = {protein: random.standard_normal(300) for protein in proteins}
    level = dict(zip(vectors, random.standard_normal(40), strict=True))
    rows = random.permutation(200)
    targets = np.array([level[p] + 0.1 * random.standard_normal() for p in proteins[rows]])
    data = Dataset("repeated", tuple(proteins[rows]), targets)

    def scores(data):
        x = np.stack([vectors[p] for p in data.sequences]).astype(np.float32)
        return [score.r2_test for score in cross_validate(x, data.targets)]

    assert min(scores(data)) > 0.5
    once = data.one_row_a_protein()
    assert (len(once.sequences), once.repeated) == (40, 0)
    assert np.mean(scores(once)) < 0.05
    of_first = targets[np.array(data.sequences) == once.sequences[0]]
    assert once.targets[0] == pytest.approx(of_first.mean())
