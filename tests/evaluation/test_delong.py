"""DeLong against its definition, the bootstrap, and the grouped bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.differences import averaged_difference, delong
from models_under_pressure.evaluation.intervals import bootstrap_auroc, plan, replicate


def delong_difference(before, after, labels):
    return averaged_difference([before], [after], np.asarray(labels, dtype=bool))


def by_definition(before, after, labels):
    """DeLong's covariance from all pairs (equations 4 to 6 of the 1988 paper)."""
    theta, v10, v01 = [], [], []
    for scores in (before, after):
        high, low = scores[labels][:, None], scores[~labels][None, :]
        psi = (high > low) + 0.5 * (high == low)
        theta.append(psi.mean())
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    s = np.cov(v10) / labels.sum() + np.cov(v01) / (~labels).sum()
    return theta[1] - theta[0], np.sqrt(max(s[0, 0] + s[1, 1] - 2 * s[0, 1], 0.0))


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 30), st.integers(1, 8))
@settings(max_examples=60)
def test_the_standard_error_is_delongs_with_ties(seed, positives, negatives, levels):
    generator = np.random.default_rng(seed)
    labels = np.repeat([True, False], [positives, negatives])
    before, after = generator.integers(0, levels + 1, size=(2, positives + negatives)).astype(float)
    found = delong_difference(before, after, labels)
    value, error = by_definition(before, after, labels)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.error == pytest.approx(error, abs=1e-9)


def correlated(size, seed=0, groups=None):
    generator = np.random.default_rng(seed)
    labels = np.arange(size) % 2 == 0
    shared = generator.normal(size=size) + 1.2 * labels
    before, after = (shared + 0.7 * generator.normal(size=size) for _ in range(2))
    return before, after, labels


def test_delong_equals_the_bootstrap_in_a_large_sample():
    before, after, labels = correlated(6000)
    exact, drawn = delong(before, labels), bootstrap_auroc(before, labels, seed=0, resamples=4000)
    assert (exact.low, exact.high) == pytest.approx((drawn.low, drawn.high), abs=0.0006)
    exact = delong_difference(before, after, labels)
    ranked = [curves.rank(scores, labels) for scores in (before, after)]

    def change(weights):
        first, second = (curves.auroc(curves.count(one, weights)) for one in ranked)
        return {"change": second - first}

    drawn = replicate(change, plan(labels), 4000, np.random.default_rng(0))["change"]
    assert exact.error == pytest.approx(drawn.std(), rel=0.05)
    assert exact.value == pytest.approx(float(change(np.ones((1, len(labels))))["change"][0]), abs=1e-12)


@pytest.mark.parametrize("mixed", [True, False], ids=["groups of both classes", "groups of one class"])
def test_with_groups_it_equals_the_grouped_bootstrap(mixed):
    generator = np.random.default_rng(4)
    size, members = 800, 4
    groups = np.repeat(np.arange(size), members)
    labels = (np.arange(size * members) % 2 if mixed else groups % 2) == 0
    scores = labels + np.repeat(generator.normal(size=size), members) + 0.5 * generator.normal(size=size * members)
    exact, drawn = delong(scores, labels, groups), bootstrap_auroc(scores, labels, groups, seed=0, resamples=4000)
    assert exact.high - exact.low == pytest.approx(drawn.high - drawn.low, rel=0.05)
    alone = delong(scores, labels)
    assert (exact.high - exact.low) / (alone.high - alone.low) != pytest.approx(1.0, abs=0.1)


def test_pairing_cancels_what_both_lists_share():
    before, after, labels = correlated(400)
    paired = delong_difference(before, after, labels)
    alone = [delong(scores, labels) for scores in (before, after)]
    unpaired = np.hypot(*((estimate.high - estimate.low) / 3.92 for estimate in alone))
    assert paired.error < 0.75 * unpaired


def test_scores_that_rank_alike_do_not_differ():
    before, _, labels = correlated(50)
    found = delong_difference(before, 3 * before - 7, labels)
    assert (found.value, found.p_value) == (0.0, 1.0)


def test_one_group_of_a_class_can_prove_nothing():
    found = delong_difference([0.1, 0.9, 0.2], [0.9, 0.1, 0.2], [1, 0, 0])
    assert found.p_value == 1.0
    assert (found.low, found.high) == (-1.0, 1.0)


def test_seeds_that_disagree_widen_the_difference():
    before, after, labels = correlated(400)
    generator = np.random.default_rng(5)
    alike = [after + 0.01 * generator.normal(size=400) for _ in range(3)]
    unlike = [after + scale * generator.normal(size=400) for scale in (0.0, 1.0, 3.0)]
    steady = averaged_difference([before] * 3, alike, labels)
    shaky = averaged_difference([before] * 3, unlike, labels)
    assert shaky.error > 1.5 * steady.error
    assert shaky.high - shaky.low > 2 * 1.96 * shaky.error
