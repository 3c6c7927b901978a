"""Reliability bins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from models_under_pressure.evaluation.metrics import EQUAL_MASS, EQUAL_WIDTH, bin_gaps, bin_of, reliability

forecasts = st.lists(st.tuples(st.integers(0, 97), st.booleans()), min_size=1, max_size=80)


@given(forecasts, st.sampled_from([EQUAL_WIDTH, EQUAL_MASS]), st.integers(2, 12))
def test_bins_hold_every_record_and_add_up_to_the_ece(rows, binning, bins):
    probabilities = np.array([value / 97 for value, _ in rows])
    labels = np.array([label for _, label in rows])
    found = reliability(probabilities, labels, bins, binning)
    assert sum(part.n for part in found) == len(rows)
    assert sum(part.positives for part in found) == labels.sum()
    total = sum(part.n * abs(part.observed.value - part.forecast) for part in found) / len(rows)
    assert abs(bin_gaps(probabilities, labels, bins, binning).sum(axis=0)).sum() / len(rows) == pytest.approx(total)


@given(forecasts)
def test_equal_width_bins_are_scikit_learns(rows):
    probabilities = np.array([value / 97 for value, _ in rows])
    labels = np.array([label for _, label in rows])
    observed, forecast = calibration_curve(labels, probabilities, n_bins=9, pos_label=True)
    found = reliability(probabilities, labels, 9)
    assert [part.observed.value for part in found] == pytest.approx(observed)
    assert [part.forecast for part in found] == pytest.approx(forecast)


def test_a_probability_of_one_falls_into_the_last_bin():
    index, edges = bin_of(np.array([1.0]), 10)
    assert (index.tolist(), len(edges)) == ([9], 11)
