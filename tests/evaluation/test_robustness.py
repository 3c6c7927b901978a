"""Paired changes of a monitor's metrics: oracles from scikit-learn and counting, and intervals that hold the truth."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.evaluation.robustness import Paired, effect, mean_effect, mean_of_draws

CHANGES = ("auroc_change", "tpr_change", "fpr_change")


def paired(size=120, seed=0, shift=0.4, threshold=1.0):
    generator = np.random.default_rng(seed)
    labels = np.arange(size) % 2 == 0
    before = generator.normal(size=size) + 1.5 * labels
    after = before - shift * labels + generator.normal(scale=0.3, size=size)
    return Paired(before, after, labels, [f"pair_{number // 2}" for number in range(size)], threshold)


def measured(one, seed=0, resamples=400):
    return effect(one, np.random.default_rng(seed), resamples=resamples)


def test_values_are_those_of_counting():
    one, found = paired(), measured(paired()).columns()
    for side, sign in ((one.before, -1), (one.after, 1)):
        assert np.isfinite(side).all()
        found["auroc_change"] -= sign * roc_auc_score(one.labels, side)
        found["tpr_change"] -= sign * (side >= 1.0)[one.labels].mean()
        found["fpr_change"] -= sign * (side >= 1.0)[~one.labels].mean()
    assert [found[name] for name in CHANGES] == pytest.approx([0, 0, 0], abs=1e-4)
    assert found["auroc"] == pytest.approx(roc_auc_score(one.labels, one.after), abs=1e-4)


def test_a_paired_interval_is_narrower_than_two_apart_and_holds_the_change():
    found = measured(paired()).columns()
    assert found["auroc_change_low"] < found["auroc_change"] < found["auroc_change_high"] < 0
    assert found["auroc_change_high"] - found["auroc_change_low"] < found["auroc_high"] - found["auroc_low"]


def test_intervals_cover_the_change_of_a_population():
    population = paired(200_000, seed=99)
    truth = {"auroc": roc_auc_score(population.labels, population.after)}
    truth["auroc"] -= roc_auc_score(population.labels, population.before)
    for name, members in (("tpr", population.labels), ("fpr", ~population.labels)):
        truth[name] = (population.after >= 1.0)[members].mean() - (population.before >= 1.0)[members].mean()
    hits = dict.fromkeys(truth, 0)
    for seed in range(40):
        found = measured(paired(seed=seed), seed, 200).columns()
        for name, value in truth.items():
            hits[name] += found[f"{name}_change_low"] <= value <= found[f"{name}_change_high"]
    assert min(hits.values()) >= 34  # of 40 at 95 %: fewer has a chance of 1 in 300


def test_a_rate_that_nothing_moved_is_still_not_certain():
    found = measured(paired(threshold=float("inf"))).columns()
    assert (found["fpr"], found["fpr_change"]) == (0.0, 0.0)
    assert found["fpr_change_low"] < -0.02
    assert found["fpr_change_high"] > 0.02


def test_the_mean_counts_datasets_alike_and_is_surer_than_each():
    parts = [measured(paired(size, seed=size), seed=size) for size in (60, 120, 240)]
    together = mean_effect(parts)
    each = [part.columns() for part in parts]
    for name in ("auroc", "tpr", "fpr", *CHANGES):
        assert together.columns()[name] == pytest.approx(np.mean([one[name] for one in each]), abs=1e-4)
    widths = [one["auroc_change_high"] - one["auroc_change_low"] for one in (together.columns(), *each)]
    assert widths[0] < np.mean(widths[1:])


def test_the_mean_over_shuffles_has_the_t_interval():
    from scipy import stats

    values = [0.41, 0.55, 0.52, 0.47, 0.6]
    found = mean_of_draws(values)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    with pytest.raises(ValueError, match="at least two"):
        mean_of_draws([0.5])
