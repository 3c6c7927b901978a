"""Intervals against closed forms, and at the edges where a bootstrap knows nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models_under_pressure.evaluation.intervals import (
    bootstrap_auroc,
    clopper_pearson,
    logit_interval,
    percentile_interval,
    pivotal_interval,
)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_is_scipys_exact_interval(counts):
    successes, trials = counts
    estimate = clopper_pearson(successes, trials)
    exact = stats.binomtest(successes, trials).proportion_ci(0.95, method="exact")
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high))


def test_no_trials_say_nothing():
    assert (clopper_pearson(0, 0).low, clopper_pearson(0, 0).high) == (0.0, 1.0)


def test_a_perfect_ranking_of_few_records_is_not_certain():
    labels = np.repeat([True, False], 20)
    estimate = bootstrap_auroc(labels * 1.0, labels, seed=0, resamples=200)
    assert estimate.value == estimate.high == 1.0
    # 20 disjoint pairs, all ranked right: (0.025)^(1/20).
    assert estimate.low == pytest.approx(0.025 ** (1 / 20))


def test_a_single_group_in_a_class_leaves_the_auroc_unknown():
    labels = np.array([True, False, False, False, False])
    estimate = bootstrap_auroc([0.9, 0.8, 0.3, 0.95, 0.1], labels, seed=0, resamples=200)
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_scores_that_are_all_equal_have_an_auroc_of_a_half_without_doubt():
    labels = np.arange(50) % 2 == 0
    estimate = bootstrap_auroc(np.zeros(50), labels, seed=0, resamples=200)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))


def test_the_interval_of_a_rate_stays_between_0_and_1():
    estimate = logit_interval(0.99, 0.05, groups=12)
    assert 0.0 < estimate.low < 0.99 < estimate.high < 1.0


def test_percentiles_are_wider_with_fewer_groups():
    replicates = np.random.default_rng(0).normal(0.3, 0.02, 20_000)
    few, many = (percentile_interval(0.3, replicates, groups) for groups in (8, 10_000))
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.02, rel=0.03)
    # t quantile with 7 degrees of freedom, times sqrt(8 / 7)
    assert few.high - few.low == pytest.approx(2 * 2.365 * np.sqrt(8 / 7) * 0.02, rel=0.05)


def test_the_pivot_takes_out_the_bias_that_resampling_adds():
    replicates = np.random.default_rng(0).normal(0.14, 0.01, 20_000)
    estimate = pivotal_interval(0.10, replicates, groups=1000)
    assert estimate.low == pytest.approx(2 * 0.10 - 0.1596, abs=2e-3)
    assert estimate.high == 0.10


def test_the_same_seed_gives_the_same_interval_and_another_nearly_the_same():
    generator = np.random.default_rng(1)
    labels = np.arange(200) % 2 == 0
    scores = generator.normal(size=200) + labels
    first, again, other = (bootstrap_auroc(scores, labels, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert other.low == pytest.approx(first.low, abs=0.003)
    assert other != first


def test_groups_that_vary_together_widen_the_interval():
    generator = np.random.default_rng(2)
    labels = np.repeat(np.arange(60) % 2 == 0, 5)
    groups = np.repeat(np.arange(60), 5)
    scores = labels + np.repeat(generator.normal(size=60), 5) + 0.1 * generator.normal(size=300)
    alone, grouped = (bootstrap_auroc(scores, labels, names, seed=0) for names in (None, groups))
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)


def test_pairs_of_one_high_and_one_low_narrow_the_interval_when_they_share_their_level():
    # The pair's common level moves both scores, and a pair drawn whole keeps it on both sides.
    generator = np.random.default_rng(3)
    labels = np.tile([True, False], 100)
    pairs = np.repeat(np.arange(100), 2)
    scores = 0.5 * labels + np.repeat(generator.normal(size=100), 2) + 0.1 * generator.normal(size=200)
    alone, paired = (bootstrap_auroc(scores, labels, names, seed=0) for names in (None, pairs))
    assert paired.high - paired.low < 0.8 * (alone.high - alone.low)
