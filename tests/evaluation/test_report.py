"""The flat numbers of metrics/evaluate.json, their means, and their parts by attribute."""

import json

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit
from sklearn import metrics as oracle

from models_under_pressure.evaluation import metrics
from models_under_pressure.evaluation.intervals import Estimate
from models_under_pressure.evaluation.measure import by_attribute, length_bins
from models_under_pressure.evaluation.metrics import EQUAL_MASS, bin_gaps, tpr_at_fpr_interval
from models_under_pressure.evaluation.report import (
    EvaluateConfig,
    evaluate_scores,
    mean_estimate,
    mean_over_datasets,
    percent,
)
from models_under_pressure.evaluation.scores import ScoreList

CONFIG = EvaluateConfig(resamples=300)


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2 == 0
    logits = generator.normal(size=200) + 1.5 * labels - 0.75
    return logits, labels, [f"g{number // 2}" for number in range(200)]


def test_every_metric_has_its_value_and_an_interval_around_it(data):
    logits, labels, groups = data
    probabilities = 1 / (1 + np.exp(-logits))
    found = evaluate_scores(logits, labels, groups, config=CONFIG, seed=0, probabilities=probabilities)
    assert (found["n"], found["positives"]) == (200, 100)
    tpr = metrics.tpr_at_fpr(logits, labels, 0.01)
    expected = {
        "auroc": metrics.auroc(logits, labels),
        "auprc": oracle.average_precision_score(labels, logits),
        "accuracy": metrics.accuracy(probabilities, labels),
        "brier": oracle.brier_score_loss(labels, probabilities),
        "log_loss": oracle.log_loss(labels, probabilities),
        "ece": metrics.ece(probabilities, labels),
        "adaptive_ece": abs(bin_gaps(probabilities, labels, 10, EQUAL_MASS).sum(axis=0)).sum() / 200,
        "tpr_at_1pct_fpr": tpr,
        "precision_at_1pct_fpr": 0.01 * tpr / (0.01 * tpr + 0.99 * 0.01),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=5e-5)
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert len(found) == 2 + 3 * len(expected)


def test_the_numbers_are_plain_rounded_json(data):
    logits, labels, groups = data
    found = evaluate_scores(logits.astype(np.float32), labels.astype(int), groups, config=CONFIG, seed=0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(round(value, 4) == value for value in found.values())
    assert "brier" not in found


def test_the_order_of_records_changes_nothing(data):
    logits, labels, groups = data
    order = np.random.default_rng(1).permutation(200)
    first = evaluate_scores(logits, labels, groups, config=CONFIG, seed=0)
    second = evaluate_scores(logits[order], labels[order], np.array(groups)[order], config=CONFIG, seed=0)
    assert first == second


def test_one_class_leaves_the_metrics_that_need_no_ranking():
    found = evaluate_scores([0.1, 0.2], [0, 0], None, config=CONFIG, seed=0, probabilities=[0.1, 0.2])
    assert (found["n"], found["positives"]) == (2, 0)
    assert "auroc" not in found
    assert "tpr_at_1pct_fpr" not in found
    assert found["accuracy"] == 1.0


def test_each_budget_has_a_name_without_a_dot(data):
    logits, labels, groups = data
    config = EvaluateConfig(resamples=100, fpr_budgets=(0.001, 0.05))
    found = evaluate_scores(logits, labels, groups, config=config, seed=0)
    assert {"tpr_at_0_1pct_fpr", "tpr_at_5pct_fpr"} <= set(found)
    assert percent(0.01) == "1pct"


def test_the_config_refuses_what_it_does_not_know():
    with pytest.raises(ValidationError):
        EvaluateConfig(resample=10)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValidationError):
        EvaluateConfig(fpr_budgets=(1.5,))


def test_a_mean_over_datasets_counts_each_alike_and_narrows_with_their_number():
    row = {"n": 100, "positives": 50, "auroc": 0.8, "auroc_low": 0.7, "auroc_high": 0.86, "tpr": 0.5}
    other = row | {"n": 300, "auroc": 0.9, "auroc_low": 0.8, "auroc_high": 0.96}
    mean = mean_over_datasets([row, other])
    assert (mean["datasets"], mean["n"], mean["positives"]) == (2, 400, 100)
    assert mean["auroc"] == 0.85
    assert mean["auroc_low"] == pytest.approx(0.85 - np.hypot(0.1, 0.1) / 2, abs=1e-4)
    assert mean["auroc_high"] == pytest.approx(0.85 + np.hypot(0.06, 0.06) / 2, abs=1e-4)
    assert "tpr" not in mean


def test_a_mean_leaves_out_what_one_dataset_lacks_and_refuses_none():
    row = {"n": 1, "positives": 0, "brier": 0.1, "brier_low": 0.0, "brier_high": 0.2}
    assert "brier" not in mean_over_datasets([row, {"n": 1, "positives": 0}])
    with pytest.raises(ValueError, match="at least one"):
        mean_over_datasets([])


def test_the_mean_of_one_estimate_is_itself():
    estimate = Estimate(0.8, 0.7, 0.85)
    mean = mean_estimate([estimate])
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.8, 0.7, 0.85))


def score_list(logits, labels, groups):
    return ScoreList("mt", "mean", 0, tuple(map(str, range(200))), tuple(groups), labels, logits, expit(logits))


def test_each_value_of_an_attribute_is_measured_at_the_threshold_that_all_share(data):
    logits, labels, groups = data
    language = ["de" if number % 4 < 2 else "fr" for number in range(200)]
    # One language scores higher throughout: its own ranking is as good, its false alarms are not.
    shifted = logits + np.array([2.0 if value == "fr" else 0.0 for value in language])
    config = EvaluateConfig(resamples=100, fpr_budgets=(0.1,))
    found = by_attribute(score_list(shifted, labels, groups), language, config, 0)
    assert list(found) == ["de", "fr"]
    assert found["de"]["n"] == found["fr"]["n"] == 100
    assert found["fr"]["auroc"] == pytest.approx(
        metrics.auroc(logits[np.array(language) == "fr"], labels[np.array(language) == "fr"]), abs=1e-4
    )
    threshold = metrics.threshold_at_fpr(shifted, labels, 0.1)
    for value, part in found.items():
        inside = np.array(language) == value
        assert part["fpr_at_shared_10pct"] == pytest.approx((shifted[inside & ~labels] >= threshold).mean())
    assert found["fr"]["fpr_at_shared_10pct"] > 0.15 > found["de"]["fpr_at_shared_10pct"]


def test_a_part_of_one_class_has_the_rate_of_that_class(data):
    logits, labels, groups = data
    values = ["high" if label else "low" for label in labels]
    found = by_attribute(score_list(logits, labels, groups), values, CONFIG, 0)
    assert "auroc" not in found["low"]
    assert "tpr_at_shared_1pct" not in found["low"]
    assert found["low"]["fpr_at_shared_1pct"] <= 0.01


def test_an_attribute_of_another_length_is_refused(data):
    logits, labels, groups = data
    with pytest.raises(ValueError, match="attribute values have shape"):
        by_attribute(score_list(logits, labels, groups), ["de"], CONFIG, 0)


def test_length_bins_hold_equal_parts_and_sort_by_length():
    lengths = np.arange(1, 101)
    bins = length_bins(lengths, bins=4)
    assert sorted(set(bins)) == ["1: up to 25", "2: 26 to 50", "3: 51 to 75", "4: 76 to 100"]
    assert [bins.count(name) for name in sorted(set(bins))] == [25] * 4
    assert bins[24] == "1: up to 25"


def test_length_bins_merge_when_lengths_repeat():
    assert set(length_bins([7] * 10)) == {"1: up to 7"}


def test_few_negatives_cannot_bound_the_tpr_from_below():
    labels = np.repeat([True, False], [50, 436])
    perfect = tpr_at_fpr_interval(labels * 1.0, labels, 0.01)
    assert (perfect.value, perfect.low) == (1.0, 0.0)
    labels = np.repeat([True, False], [50, 437])
    assert tpr_at_fpr_interval(labels * 1.0, labels, 0.01).low > 0.9
