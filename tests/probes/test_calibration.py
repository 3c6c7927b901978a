"""Probabilities and thresholds from a validation split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.calibration import (
    Isotonic,
    Sigmoid,
    Threshold,
    control_table,
    cross_entropy,
    fit_calibration,
    sigmoid,
    stored_threshold,
    threshold_table,
)


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


def test_platts_fit_is_where_the_gradient_against_his_targets_vanishes():
    generator = np.random.default_rng(5)
    labels = np.arange(30) % 3 == 0
    logits = 7.0 * (generator.normal(size=30) + labels)
    found = fit_calibration("platt", logits, labels)
    targets = np.where(labels, 11 / 12, 1 / 22)  # (10 + 1) / (10 + 2) and 1 / (20 + 2)
    error = found.probabilities(logits) - targets
    assert error.mean() == pytest.approx(0, abs=1e-7)
    assert (error * logits / logits.std()).mean() == pytest.approx(0, abs=1e-7)


def test_platt_gives_logits_that_say_nothing_the_share_of_the_positives():
    labels = np.arange(30) % 3 == 0
    found = fit_calibration("platt", np.zeros(30), labels)
    share = (10 * 11 / 12 + 20 * 1 / 22) / 30
    assert found.probabilities(np.zeros(1))[0] == pytest.approx(share, abs=1e-6)


def test_temperature_is_where_its_gradient_vanishes_between_bounds():
    logits, labels = sample(300, slope=0.5, intercept=0.0, seed=4)
    found = fit_calibration("temperature", 100 * logits, labels)
    assert ((sigmoid(found.slope * 100 * logits) - labels) * logits).mean() == pytest.approx(0, abs=1e-7)
    separate = fit_calibration("temperature", np.array([-1.0, 1.0]), np.array([False, True]))
    assert 100 < separate.slope <= np.exp(10) + 1, "what is separable has no end of its own"
    upside_down = fit_calibration("temperature", np.array([-1.0, 1.0]), np.array([True, False]))
    assert np.exp(-10) - 1e-9 < upside_down.slope < 5e-5, "and never turns the order"


def test_isotonic_regression_pools_neighbours_that_fall_and_ends_flat():
    found = fit_calibration("isotonic", np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, True, False, True]))
    assert found.probabilities(np.array([-9.0, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 9.0])).tolist() == [
        0.0, 0.0, 0.5, 0.5, 0.5, 0.75, 1.0, 1.0
    ]  # fmt: skip


def test_a_curve_may_be_flat_and_is_refused_where_it_falls_or_has_a_point_without_a_value():
    assert Isotonic(logits=(0.0, 0.0, 1.0), values=(0.2, 0.2, 0.2)).probabilities(np.array([0.5]))[0] == 0.2
    with pytest.raises(ValueError, match="a curve needs as many values as logits"):
        Isotonic(logits=(0.0, 1.0), values=(0.0,))
    for logits, values in (((1.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (1.0, 0.0))):
        with pytest.raises(ValueError, match="a curve must rise"):
            Isotonic(logits=logits, values=values)


def test_cross_entropy_is_minus_the_log_of_the_probability_of_the_label():
    logits, labels = np.array([-2.0, 0.0, 3.0]), np.array([1.0, 0.0, 0.25])
    p = sigmoid(logits)
    np.testing.assert_allclose(cross_entropy(logits, labels), -(labels * np.log(p) + (1 - labels) * np.log(1 - p)))


def test_a_sigmoid_has_its_slope_before_its_intercept():
    found = Sigmoid(slope=2.0, intercept=-1.0).probabilities(np.array([0.5, 1.5]))
    np.testing.assert_allclose(found, [0.5, 1 / (1 + np.exp(-2.0))])


def row(budget, **more):
    known = {"logit": 1.0, "fpr": 0, "fpr_low": 0, "fpr_high": 1, "tpr": 1, "negatives": 1, "positives": 1}
    return Threshold.model_validate(known | {"budget": budget} | more)


def test_a_stored_threshold_is_found_by_its_rate_however_it_was_computed():
    rows = [row(0.01), row(0.1 + 0.2), row(0.5)]
    assert stored_threshold("p", rows, 0.3) is rows[1]
    assert stored_threshold("p", iter(rows), 0.01) is rows[0]
    assert stored_threshold("p", rows, 0.011) is None


@pytest.mark.parametrize(("others", "told"), [((0.5, 0.25), "0.5, 0.25"), ((), "none")])
def test_a_rate_that_the_control_set_cannot_promise_is_refused_with_those_that_it_can(others, told):
    rows = [row(0.01, refused="needs 299 conversations, has 22"), *map(row, others)]
    with pytest.raises(UserError) as caught:
        stored_threshold("mean_5", rows, 0.01)
    assert str(caught.value) == (
        "the probe 'mean_5' has no threshold at FPR 0.01: its control set needs 299 conversations, has 22. Remedy: "
        f"name another rate ({told}), or train it with a larger control set."
    )


def test_a_promise_is_the_quantile_of_beta_at_the_confidence_asked_for():
    control = np.arange(400.0)
    (sure, _), (surer, _) = (
        [
            one
            for one in control_table(control, np.array([500.0]), (0.05, 0.06), confidence=confidence)
            if one.budget > 0.01
        ]
        for confidence in (0.95, 0.99)
    )
    assert (sure.confidence, surer.confidence) == (0.95, 0.99)
    for one in (sure, surer):
        rank = round(one.fpr * 400) + 1
        assert one.bound == pytest.approx(beta.ppf(one.confidence, rank, 400 - rank + 1))
        assert beta.ppf(one.confidence, rank + 1, 400 - rank) > 0.05, "the next one promises too little"
    assert surer.logit > sure.logit
    refused = control_table(control, np.array([500.0]), (), confidence=0.99)[0]
    assert refused.refused == "needs 9,209 conversations, has 400"
    assert (refused.logit, refused.bound, refused.fpr, refused.tpr) == (None, None, 0.0, 0.0)


def test_a_threshold_that_only_flagging_nothing_keeps_flags_nothing():
    labels = np.array([True, False, False])
    (found,) = threshold_table(np.array([1.0, 5.0, 5.0]), labels, (0.1,))
    assert (found.logit, found.fpr, found.tpr, found.negatives, found.positives) == (None, 0.0, 0.0, 2, 1)
