import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn import metrics

from paincore.statistics.scores import (
    PREDICTIONS,
    MetricError,
    calibration,
    pooled_scores,
    prior_corrected,
    score,
)
from tests.helpers.predicted import predictions
from tests.helpers.regression import newton


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0, 0.2, 0.5, 0.7, 1])), min_size=2))
def test_scores_are_those_of_scikit_learn(frames):
    pain, probability = (np.array(values) for values in zip(*frames, strict=True))
    if not 0 < pain.sum() < len(pain):
        return
    said, found = probability > 0.5, score(pain, probability)
    counts = [found[name] for name in ("tn", "fp", "fn", "tp")]
    assert counts == metrics.confusion_matrix(pain, said).ravel().tolist()
    assert found["f1"] == pytest.approx(metrics.f1_score(pain, said))
    assert found["recall"] == pytest.approx(metrics.recall_score(pain, said))
    assert found["auc"] == metrics.roc_auc_score(pain, probability)
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(pain, probability))
    if said.any():
        assert found["precision"] == pytest.approx(metrics.precision_score(pain, said))


def test_a_subject_of_one_class_has_a_rate_but_no_f1_or_auc():
    painless = score([False] * 4, [0.1, 0.6, 0.2, 0.3])
    painful = score([True] * 4, [0.1, 0.6, 0.2, 0.3])
    assert painless["false_positive_rate"] == painful["recall"] == 0.25
    assert math.isnan(painless["recall"]) and math.isnan(painful["false_positive_rate"])
    for name in ("f1", "auc", "average_precision", "precision", "calibration_slope"):
        assert math.isnan(painless[name]) and math.isnan(painful[name]), name


@pytest.mark.parametrize("seed", range(5))
def test_calibration_agrees_with_newton_iterations(seed):
    rng = np.random.default_rng(seed)
    x, ones = rng.normal(size=200), np.ones((200, 1))
    pain = rng.random(200) < expit(x) * 0.6
    slope, intercept = calibration(pain, expit(x))
    assert slope == pytest.approx(newton(np.column_stack([ones, x]), pain)[1], rel=1e-5)
    assert intercept == pytest.approx(newton(ones, pain, x)[0], rel=1e-8)


@pytest.mark.parametrize(
    "probability", [[0.3] * 4, [1.0] * 4, [0.1, 0.2, 0.7, 0.8], [0.1, 0.5, 0.5, 0.8], [0, 0, 1, 1]]
)
def test_calibration_is_nan_for_equal_and_for_separating_predictions(probability):
    pain = np.array([False, False, True, True])
    for labels in (pain, ~pain):
        assert np.isnan(calibration(labels, np.array(probability))).all()


def test_probabilities_of_0_and_1_count_as_a_millionth_away():
    pain = np.array([True, False, True, False, False])
    bare = calibration(pain, np.array([0, 0.2, 1, 0.6, 1]))
    assert bare == calibration(pain, np.array([1e-6, 0.2, 1 - 1e-6, 0.6, 1 - 1e-6]))
    assert np.isfinite(bare).all()


def test_pooled_scores_all_frames_together_and_refuses_one_twice():
    table = predictions()
    assert {*table} == {*PREDICTIONS}
    assert pooled_scores(table).to_dict() == score(table["pain"], table["probability"])
    assert pooled_scores(table, "corrected")["auc"] == pytest.approx(pooled_scores(table)["auc"])
    with pytest.raises(MetricError, match="s0 s0a 7 is predicted more than once"):
        pooled_scores(pd.concat([table, table.iloc[[6]]]))


def test_prior_correction_recovers_bayes_on_counted_cases():
    rng = np.random.default_rng(0)
    pain = rng.random(200_000) < 0.1
    sign = rng.random(len(pain)) < np.where(pain, 0.8, 0.3)
    balanced = np.where(sign, 0.8 / 1.1, 0.2 / 0.9)  # P(pain | sign) where half is pain
    corrected = prior_corrected(balanced, 0.1)
    for value in (True, False):
        assert corrected[sign == value][0] == pytest.approx(pain[sign == value].mean(), abs=0.005)
    assert logit(prior_corrected(0.4, 0.1)) == pytest.approx(logit(0.4) + logit(0.1))


@pytest.mark.parametrize(
    ("pain", "probability", "message"),
    [
        ([True, False], [0.5, math.nan], r"1 of 2 .* \(nan\)"),
        ([True, False], [0.5, 1.5], r"1 of 2 .* \(1\.5\)"),
        ([True], [0.5, 0.5], r"\(1,\) and probabilities \(2,\)"),
        ([], [], "at least one frame"),
    ],
)
def test_what_cannot_be_scored_is_an_error(pain, probability, message):
    with pytest.raises(MetricError, match=message):
        score(pain, probability)
