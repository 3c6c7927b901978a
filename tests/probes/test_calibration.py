"""Probabilities and thresholds from a validation split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from models_under_pressure.probes.calibration import Threshold, control_table, fit_calibration, sigmoid, threshold_table


def sample(n=4000, slope=3.0, intercept=-1.0, seed=0):
    """Logits whose true log-odds are `slope * logit + intercept`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=n)
    return logits, generator.random(n) < sigmoid(slope * logits + intercept)


def test_platt_finds_the_true_slope_and_intercept_as_an_unpenalised_regression_does():
    logits, labels = sample()
    found = fit_calibration("platt", logits, labels)
    oracle = LogisticRegression(C=np.inf, tol=1e-8).fit(logits[:, None], labels)
    # Platt's targets, which keep separable data finite, move the fit a little.
    assert found.slope == pytest.approx(oracle.coef_[0, 0], rel=0.01)
    assert found.intercept == pytest.approx(oracle.intercept_[0], rel=0.02)


def test_temperature_finds_the_true_slope():
    logits, labels = sample(intercept=0.0)
    found = fit_calibration("temperature", logits, labels)
    assert found.intercept == 0.0
    assert found.slope == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize("method", ["platt", "isotonic", "temperature"])
def test_calibrated_probabilities_are_likelier_on_new_records(method):
    calibration = fit_calibration(method, *sample(slope=5.0, intercept=0.0, seed=1))
    logits, labels = sample(slope=5.0, intercept=0.0, seed=2)
    assert log_loss(labels, calibration.probabilities(logits)) < log_loss(labels, sigmoid(logits))


@pytest.mark.parametrize("method", ["platt", "isotonic", "temperature"])
@given(seed=st.integers(0, 2**32), n=st.integers(4, 60), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_calibration_keeps_the_order_and_the_range(method, seed, n, scale):
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 2 == 0
    logits = (generator.normal(size=n) + labels) * scale
    probabilities = fit_calibration(method, logits, labels).probabilities(np.sort(logits))
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    if np.corrcoef(logits, labels)[0, 1] > 0:
        assert (np.diff(probabilities) >= 0).all()


@pytest.mark.parametrize("method", ["platt", "isotonic", "temperature"])
def test_a_perfectly_separated_split_still_gives_finite_probabilities(method):
    labels = np.arange(40) >= 20
    calibration = fit_calibration(method, np.linspace(-1, 1, 40), labels)
    assert np.isfinite(calibration.probabilities(np.array([-5.0, 0.0, 5.0]))).all()


def test_no_calibration_is_the_sigmoid():
    assert fit_calibration("none", *sample()) is None


@pytest.mark.parametrize("logit", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_the_sigmoid_never_overflows(logit):
    with np.errstate(all="raise"):
        assert sigmoid(np.array([logit]))[0] == pytest.approx(1 / (1 + np.exp(-np.clip(logit, -700, 700))), abs=1e-12)


@given(seed=st.integers(0, 2**32), n=st.integers(4, 300), digits=st.sampled_from([0, 1, 8]))
def test_a_threshold_keeps_its_budget_and_none_below_it_does(seed, n, digits):
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 2 == 0
    logits = np.round(generator.normal(size=n) + labels, digits)
    for row in threshold_table(logits, labels, (0.3, 0.01, 0.1)):
        flagged = np.zeros(n, bool) if row.logit is None else logits >= row.logit
        assert row.fpr == flagged[~labels].mean() <= row.budget + 1e-9
        assert row.tpr == flagged[labels].mean()
        lower = logits[~flagged]
        if len(lower):
            assert (logits[~labels] >= lower.max()).mean() > row.budget


def test_the_interval_of_a_threshold_is_clopper_and_pearsons():
    labels = np.arange(400) % 2 == 0
    logits = np.random.default_rng(0).normal(size=400) + labels
    row = threshold_table(logits, labels, (0.05,))[0]
    false = round(row.fpr * 200)
    assert row.fpr_low == pytest.approx(beta.ppf(0.025, false, 200 - false + 1))
    assert row.fpr_high == pytest.approx(beta.ppf(0.975, false + 1, 200 - false))


def test_a_control_set_is_asked_for_the_budgets_of_production_too_and_each_row_says_what_it_promises():
    control, positives = np.random.default_rng(0).normal(size=400), np.array([0.0, 9.0, 9.0, 9.0])
    rows = control_table(control, positives, (0.05, 0.01))
    assert [row.budget for row in rows] == [0.0005, 0.001, 0.01, 0.05]
    assert [row.refused for row in rows[:2]] == [f"needs {n} conversations, has 400" for n in ("5,990", "2,995")]
    assert all(row.source == "control" for row in rows)
    for row in rows[2:]:
        assert row.fpr == (control >= row.logit).mean() < row.bound <= row.budget
        assert (row.tpr, row.negatives, row.positives) == (0.75, 400, 4)


def test_a_threshold_of_an_older_file_is_of_the_validation_split_and_promises_nothing():
    known = {"budget": 0.01, "logit": 1.0, "fpr": 0, "fpr_low": 0, "fpr_high": 1, "tpr": 1, "negatives": 1}
    row = Threshold.model_validate(known | {"positives": 1})
    assert (row.source, row.bound, row.refused) == ("validation", None, None)


def test_the_table_is_sorted_by_budget():
    logits, labels = sample(200)
    assert [row.budget for row in threshold_table(logits, labels, (0.1, 0.01))] == [0.01, 0.1]
