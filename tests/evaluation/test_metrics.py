"""Metrics against scikit-learn, with ties, and against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from models_under_pressure.evaluation import metrics
from models_under_pressure.evaluation.report import EvaluateConfig, estimate_scores


def estimated(name, probabilities, labels, bins=10):
    """A metric of the full report, without its interval; probabilities are scores too."""
    config = EvaluateConfig(resamples=100, bins=bins)
    return estimate_scores(probabilities, labels, None, config=config, seed=0, probabilities=probabilities)[name].value


def auprc(scores, labels):
    return estimate_scores(scores, labels, None, config=EvaluateConfig(resamples=100), seed=0)["auprc"].value


@st.composite
def scored(draw, *, low=-4, high=4):
    """Scores with many ties, and labels of both classes."""
    size = draw(st.integers(2, 60))
    scores = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
    labels = draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(lambda x: any(x) and not all(x)))
    return np.array(scores, dtype=float), np.array(labels)


@st.composite
def forecasts(draw):
    scores, labels = draw(scored(low=0, high=20))
    return scores / 20, labels


@given(scored())
def test_auroc_is_scikit_learns(data):
    scores, labels = data
    assert metrics.auroc(scores, labels) == pytest.approx(oracle.roc_auc_score(labels, scores), abs=1e-12)


@given(scored())
def test_auprc_is_scikit_learns_average_precision(data):
    scores, labels = data
    assert auprc(scores, labels) == pytest.approx(oracle.average_precision_score(labels, scores), abs=1e-12)


@given(forecasts())
def test_probabilistic_metrics_are_scikit_learns(data):
    probabilities, labels = data
    assert estimated("brier", probabilities, labels) == pytest.approx(oracle.brier_score_loss(labels, probabilities))
    assert estimated("log_loss", probabilities, labels) == pytest.approx(
        oracle.log_loss(labels, probabilities), rel=1e-6
    )
    assert metrics.accuracy(probabilities, labels) == oracle.accuracy_score(labels, probabilities > 0.5)


@given(scored(), st.integers(0, 20))
def test_tpr_at_fpr_is_the_best_point_of_the_roc_curve_within_the_budget(data, percent):
    scores, labels = data
    budget = percent / 20
    fpr, tpr, _ = oracle.roc_curve(labels, scores, drop_intermediate=False)
    assert metrics.tpr_at_fpr(scores, labels, budget) == pytest.approx(tpr[fpr <= budget + 1e-12].max())


@given(scored(), st.integers(0, 20))
def test_the_threshold_keeps_the_budget_and_reaches_the_tpr(data, percent):
    scores, labels = data
    budget = percent / 20
    flagged = scores >= metrics.threshold_at_fpr(scores, labels, budget)
    assert flagged[~labels].mean() <= budget + 1e-12
    assert flagged[labels].mean() == pytest.approx(metrics.tpr_at_fpr(scores, labels, budget))


def test_a_small_set_has_the_true_tpr_where_the_nearest_point_rule_gives_0():
    # 43 negatives, as MTS: the first false positive costs 2.3 %, so the nearest point to 1 % is (0, 0) itself.
    labels = np.repeat([True, False], 43)
    scores = np.concatenate([np.linspace(0.3, 1.0, 43), np.linspace(0.0, 0.5, 43)])
    fpr, tpr, _ = oracle.roc_curve(labels, scores, drop_intermediate=False)
    nearest = tpr[np.argmin(np.abs(fpr - 0.01))]
    assert nearest == 0.0
    assert metrics.tpr_at_fpr(scores, labels, 0.01) == pytest.approx(np.mean(scores[labels] > 0.5))


def test_a_budget_that_floats_cannot_hold_is_still_met_exactly():
    assert 0.29 * 100 < 29
    labels = np.repeat([True, False], 100)
    scores = np.concatenate([np.full(100, 71.0), np.arange(100.0)])
    assert metrics.tpr_at_fpr(scores, labels, 0.29) == 1.0
    assert metrics.tpr_at_fpr(scores, labels, 0.28) == 0.0


@given(scored(), st.integers(1, 7))
def test_ranking_metrics_do_not_change_with_the_scale_of_scores(data, factor):
    scores, labels = data
    for metric in (metrics.auroc, auprc, metrics.tpr_at_fpr):
        assert metric(scores, labels) == metric(np.exp(scores * factor / 4) - 3, labels)


@given(scored())
def test_ranking_metrics_do_not_change_with_the_order_of_records(data):
    scores, labels = data
    order = np.random.default_rng(0).permutation(len(scores))
    for metric in (metrics.auroc, auprc, metrics.tpr_at_fpr):
        assert metric(scores, labels) == metric(scores[order], labels[order])


@given(forecasts(), st.integers(2, 15))
def test_ece_is_its_definition(data, bins):
    probabilities, labels = data
    expected = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = (probabilities >= low - 1e-15) & ((probabilities < high - 1e-15) | (number == bins - 1))
        # A probability that sits on an edge by rounding may go either way; skip those.
        if np.isclose(probabilities * bins, np.round(probabilities * bins), atol=1e-9).any():
            return
        if inside.any():
            expected += inside.mean() * abs(labels[inside].mean() - probabilities[inside].mean())
    assert metrics.ece(probabilities, labels, bins) == pytest.approx(expected)


def test_ece_of_a_calibrated_forecast_is_0_and_of_a_certain_wrong_one_is_1():
    calibrated = np.repeat([0.25, 0.75], 4)
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    for name in ("ece", "adaptive_ece"):
        assert estimated(name, calibrated, labels) == pytest.approx(0.0)
        assert estimated(name, np.array([1.0, 0.0]), np.array([0, 1])) == pytest.approx(1.0)


def test_adaptive_ece_sees_what_one_wide_bin_hides():
    # All forecasts between 0.4 and 0.5: a bin of equal width averages over- and underconfidence away.
    probabilities = np.repeat([0.41, 0.49], 50)
    labels = np.concatenate([np.arange(50) < 41, np.arange(50) < 4])
    assert metrics.ece(probabilities, labels) == pytest.approx(0.0, abs=1e-9)
    assert estimated("adaptive_ece", probabilities, labels, bins=2) == pytest.approx(0.41)


def test_brier_compares_with_the_labels_it_is_given():
    assert estimated("brier", [1.0, 0.0], [1, 0]) == 0.0
    assert estimated("brier", [1.0, 0.0], [0, 1]) == 1.0


def test_precision_is_bayes_with_the_whole_budget_spent():
    labels = np.repeat([True, False], 50)
    assert estimated("precision_at_1pct_fpr", labels * 1.0, labels) == pytest.approx(0.01 / (0.01 + 0.99 * 0.01))
    assert estimated("precision_at_1pct_fpr", 1.0 - labels, labels) == 0.0


@pytest.mark.parametrize("metric", [metrics.auroc, metrics.tpr_at_fpr])
@pytest.mark.parametrize("label", [0, 1])
def test_a_ranking_metric_refuses_one_class(metric, label):
    with pytest.raises(ValueError, match=f"all 3 labels are {label}"):
        metric([0.1, 0.2, 0.3], [label] * 3)


def test_inputs_that_would_give_a_silent_wrong_number_are_refused():
    with pytest.raises(ValueError, match="label 1 is"):
        metrics.auroc([0.1, 0.2], [0, 2])
    with pytest.raises(ValueError, match="score 1 is NaN"):
        metrics.auroc([0.1, np.nan], [0, 1])
    with pytest.raises(ValueError, match="is it a logit"):
        estimated("brier", [0.1, 3.2], [0, 1])
    with pytest.raises(ValueError, match="shape"):
        metrics.auroc([0.1, 0.2, 0.3], [0, 1])
    with pytest.raises(ValueError, match="at least one"):
        metrics.accuracy([], [])


@given(scored())
@settings(max_examples=25)
def test_infinite_logits_rank_above_and_below_everything(data):
    scores, labels = data
    assert metrics.auroc(np.where(labels, np.inf, -np.inf), labels) == 1.0
    assert 0.0 <= metrics.auroc(np.where(scores > 2, np.inf, scores), labels) <= 1.0
