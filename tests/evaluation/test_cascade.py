"""Cascades of two monitors: selection, merging, cost and the Pareto front."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models_under_pressure.evaluation.cascade import Selection, cost, merge, pareto, select

probability = st.floats(0, 1, allow_nan=False, width=32)
SELECTIONS = get_args(Selection)
scores = arrays(np.float64, st.integers(1, 40), elements=probability)


def selected(first, second, share, selection="mid", how="mean"):
    return merge(first, second, select(first, share, selection), how)


@given(first=scores, data=st.data(), selection=st.sampled_from(SELECTIONS))
def test_at_100_percent_the_mean_is_the_plain_average_and_at_0_percent_the_cascade_is_the_probe(first, data, selection):
    second = data.draw(arrays(np.float64, len(first), elements=probability))
    np.testing.assert_array_equal(selected(first, second, 1.0, selection), (first + second) / 2)
    np.testing.assert_array_equal(selected(first, second, 0.0, selection), first)
    np.testing.assert_array_equal(selected(first, second, 1.0, selection, "second"), second)


@given(first=scores, share=st.floats(0, 1), selection=st.sampled_from(SELECTIONS))
def test_a_share_selects_that_many_records(first, share, selection):
    assert select(first, share, selection).sum() == int(np.floor(share * len(first) + 1e-9))


@given(first=scores, shares=st.tuples(st.floats(0, 1), st.floats(0, 1)), selection=st.sampled_from(SELECTIONS[1:]))
def test_a_larger_share_selects_all_that_a_smaller_one_does(first, shares, selection):
    small, large = (select(first, share, selection) for share in sorted(shares))
    assert (small <= large).all()


def test_mid_takes_the_ranks_around_the_median_not_the_scores_around_a_half():
    first = np.array([0.90, 0.91, 0.92, 0.93, 0.94, 0.49])
    assert select(first, 0.34, "mid").tolist() == [False, True, True, False, False, False]
    assert select(first, 0.17, "uncertain").tolist() == [False] * 5 + [True]
    assert select(first, 0.34, "top").tolist() == [False, False, False, True, True, False]


def test_nothing_is_selected_at_the_top_of_an_empty_share():
    assert not select(np.array([0.2, 0.8]), 0.0, "top").any()  # [-0:] would be everything


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="outside"):
        select(np.array([0.5]), share, "mid")


def test_a_record_costs_the_first_monitor_and_where_selected_the_second():
    found = cost(np.array([2, 3]), np.array([100, 200]), np.array([False, True]))
    assert found.tolist() == [2, 203]


@given(points=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_the_front_holds_exactly_the_points_that_none_dominates(points):
    costs, values = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    front = pareto(costs, values)
    kept = {point for point, on_front in zip(points, front, strict=True) if on_front}
    undominated = {
        (c, v) for c, v in points if not any((oc <= c and ov > v) or (oc < c and ov >= v) for oc, ov in points)
    }
    assert kept == undominated
