"""ProteinGym's metrics, against scikit-learn and by hand."""

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import ndcg_score

from bionemo_ext.tasks.ranking import METRICS, ranking_intervals, ranking_scores


@pytest.fixture(scope="module")
def variants():
    random = np.random.default_rng(0)
    measured = random.standard_normal(400)
    return measured, measured + 2 * random.standard_normal(400)


def test_a_perfect_ranking_is_one(variants):
    measured, _ = variants
    found = ranking_scores(measured, np.exp(measured))
    assert found == pytest.approx(dict.fromkeys(METRICS, 1))


def test_scores_against_their_definitions(variants):
    measured, scores = variants
    fit = measured > 0.5
    found = ranking_scores(measured, scores, fit)
    gains = (measured - measured.min()) / np.ptp(measured)
    assert found["ndcg"] == pytest.approx(ndcg_score([gains], [scores], k=40))
    best = set(np.argsort(-measured)[:40])
    assert found["top_recall"] == len(best & set(np.argsort(-scores)[:40])) / 40
    pairs = scores[fit][:, None] > scores[~fit][None]
    assert found["auc"] == pytest.approx(pairs.mean())
    said = scores >= np.median(scores)
    assert found["mcc"] == pytest.approx(np.corrcoef(fit, said)[0, 1])
    ranks = np.corrcoef(rankdata(measured), rankdata(scores))[0, 1]
    assert found["spearman"] == pytest.approx(ranks)


def test_intervals_hold_the_score_and_are_the_same_again(variants):
    found = ranking_intervals(*variants, resamples=200)
    for name, value in ranking_scores(*variants).items():
        low, high = found[name]
        assert low < value < high
        assert high - low < 0.4
    assert found == ranking_intervals(*variants, resamples=200)


def test_what_is_not_defined_is_nan():
    measured, constant = np.arange(20.0), np.zeros(20)
    assert np.isnan(ranking_scores(measured, constant)["spearman"])
    assert np.isnan(list(ranking_scores(constant, measured).values())).all()
    assert np.isnan(ranking_scores(measured, measured, np.ones(20, dtype=bool))["auc"])
