"""A threshold from a control set keeps the false positive rate that it promises, or is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest, norm

from models_under_pressure.evaluation.operating_points import (
    conversations_needed,
    highest_of_groups,
    promised_bound,
    promised_rank,
    rates_at,
    threshold_above,
)
from models_under_pressure.probes.calibration import CONTROL_BUDGETS, control_table

DRAWS = 2000


@pytest.mark.parametrize(("budget", "needed"), [(0.01, 299), (0.001, 2995), (0.0005, 5990)])
def test_a_set_of_the_needed_size_gives_a_threshold_and_one_conversation_fewer_is_refused(budget, needed):
    assert conversations_needed(budget) == needed
    scores = np.random.default_rng(0).normal(size=needed)
    enough, short = (
        next(row for row in control_table(part, np.ones(3), (0.01,)) if row.budget == budget)
        for part in (scores, scores[1:])
    )
    assert enough.refused is None
    assert enough.logit > scores.max()
    assert enough.bound <= budget
    assert (short.logit, short.bound) == (None, None)
    assert short.refused == f"needs {needed:,} conversations, has {needed - 1:,}"


@given(n=st.integers(1, 2000), budget=st.floats(0.0005, 0.3), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_rank_is_the_largest_that_keeps_the_budget(n, budget, confidence):
    rank = promised_rank(n, budget, confidence)
    broken = [binom.cdf(k - 1, n, budget) for k in (rank, rank + 1)]  # P(FPR > budget) above the k-th highest of n
    assert rank == 0 or broken[0] <= 1 - confidence + 1e-12
    assert rank == n or broken[1] > 1 - confidence - 1e-12
    assert (rank > 0) == (n >= conversations_needed(budget, confidence))
    if rank:
        bound = promised_bound(n, rank, confidence)
        assert bound == pytest.approx(beta.ppf(confidence, rank, n - rank + 1), rel=1e-6)
        assert bound <= budget * (1 + 1e-9)


@pytest.mark.parametrize("budget", CONTROL_BUDGETS)
@pytest.mark.parametrize("times", [1, 1.9])
def test_the_promised_rate_holds_in_2000_draws_as_often_as_the_binomial_says(budget, times):
    n = int(times * conversations_needed(budget))
    rank = promised_rank(n, budget)
    generator = np.random.default_rng(7)
    highest = -np.sort(-generator.normal(size=(DRAWS, n)), axis=1)[:, :rank] if n < 1000 else _top(generator, n, rank)
    rates = norm.sf([threshold_above(scores, rank) for scores in highest])
    broken = int((rates > budget).sum())
    assert binomtest(broken, DRAWS, binom.cdf(rank - 1, n, budget)).pvalue > 0.001
    assert binomtest(broken, DRAWS, 0.05, alternative="greater").pvalue > 0.001
    assert (rates > promised_bound(n, rank)).mean() == pytest.approx(0.05, abs=0.02), "the bound is exact"


def _top(generator, n, rank):
    """The highest of n normal scores, from the lowest of n exponentials, whose gaps are exponential (Renyi 1953)."""
    gaps = generator.exponential(size=(DRAWS, rank)) / (n - np.arange(rank))
    return norm.isf(-np.expm1(-np.cumsum(gaps, axis=1)))


def test_the_promise_holds_where_scores_tie():
    n, budget, steps = 620, 0.01, 150
    rank = promised_rank(n, budget)
    scores = np.floor(np.random.default_rng(3).random((DRAWS, n)) * steps)  # 0.67 % of traffic has the highest score
    thresholds = np.array([threshold_above(one, rank) for one in scores])
    rates = np.maximum(steps - np.ceil(thresholds), 0) / steps
    assert (rates > budget).mean() <= 0.05
    assert 0 < (rates > 0).mean() < 1


def test_a_threshold_flags_none_that_tie_with_the_score_it_stands_above():
    scores = np.array([3.0, 2.0, 2.0, 2.0, 1.0])
    for rank in (2, 3, 4):
        assert list(scores >= threshold_above(scores, rank)) == [True, False, False, False, False]
    assert not (np.array([-5e8]) >= threshold_above(np.array([-5e8]), 1)).any()


def test_conversations_of_one_group_count_once_by_their_highest_score():
    scores = [0.1, 5.0, 2.0, 3.0]
    assert list(highest_of_groups(scores, ["a", "a", "b", "c"])) == [5.0, 2.0, 3.0]
    assert list(highest_of_groups(scores, None)) == scores


def test_rates_are_shares_of_each_class_with_exact_intervals():
    scores, labels = np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([False, False, False, True, True])
    found = rates_at(2.0, scores, labels, None)
    assert (found["fpr"].value, found["tpr"].value) == (pytest.approx(1 / 3), 1.0)
    exact = binomtest(1, 3).proportion_ci(0.95, method="exact")
    assert (found["fpr"].low, found["fpr"].high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    assert rates_at(None, scores, labels, None)["fpr"].value == 0.0
    assert set(rates_at(2.0, scores[:3], labels[:3], None)) == {"fpr"}
    in_pairs = rates_at(2.0, scores, labels, ["a", "a", "b", "c", "c"])
    assert in_pairs["fpr"].high > found["fpr"].high, "two records of one group are one piece of evidence"
