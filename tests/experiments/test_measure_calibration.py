"""Calibration: maps never see what judges them, and repair what they can repair."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import brier_score_loss

from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.experiments.measure_calibration import MeasureCalibration
from models_under_pressure.experiments.measure_calibration import run as measure_calibration
from models_under_pressure.experiments.shared.monitors import first_seeds

MEASURED = EvaluateConfig(resamples=200)
PURPOSES = {"validation": "validation", "a_dev": "dev", "a_test": "test", "b_test": "test"}
MAPS = ("platt", "isotonic", "temperature")


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def make(dataset, monitor="probe", *, too_sure=1.0, size=2000, seed=0):
    """Labels drawn with the probability of the logit; what is scored is the logit times `too_sure`."""
    generator = np.random.default_rng([seed, *dataset.encode()])
    logits = generator.normal(0, 1.5, size)
    labels = generator.random(size) < sigmoid(logits)
    ids = tuple(f"{dataset}_{number:05}" for number in range(size))
    return ScoreList(dataset, monitor, 42, ids, ids, labels, logits * too_sure, sigmoid(logits * too_sure))


def stakes_of(scores):
    return {id_: 9 if label else 2 for id_, label in zip(scores.ids, scores.labels, strict=True)}


def measure(lists, *, purposes=PURPOSES, monitors=("probe",), fit_on="validation", maps=MAPS):
    scales = {one.dataset: stakes_of(one) for one in lists}
    config = MeasureCalibration(monitors=monitors, fit_on=fit_on, recalibrations=maps)
    return measure_calibration(config, first_seeds(lists), purposes, scales, measured=MEASURED, seed=0)


def error(found, dataset, recalibration, name="ece", monitor="probe"):
    (row,) = [
        row
        for row in found["errors"]
        if (row["dataset"], row["recalibration"], row["monitor"]) == (dataset, recalibration, monitor)
        and (dataset != "mean" or row["purpose"] == "test")
    ]
    return row[name]


def test_every_map_repairs_a_monitor_that_is_too_sure():
    found = measure([make(name, too_sure=4.0) for name in PURPOSES])
    for name in MAPS:
        assert error(found, "mean", name) < 0.3 * error(found, "mean", "none")
        assert error(found, "mean", name, "brier") < error(found, "mean", "none", "brier")


def test_no_map_is_worth_much_to_a_calibrated_monitor():
    found = measure([make(name) for name in PURPOSES])
    for name in MAPS:
        assert error(found, "mean", name) == pytest.approx(error(found, "mean", "none"), abs=0.02)


def test_the_brier_score_is_that_of_scikit_learn():
    lists = [make(name, too_sure=2.0) for name in PURPOSES]
    expected = brier_score_loss(lists[2].labels, lists[2].probabilities)
    assert error(measure(lists), "a_test", "none", "brier") == pytest.approx(expected, abs=1e-4)


def test_maps_do_not_depend_on_the_labels_that_judge_them():
    lists = [make(name, too_sure=3.0) for name in PURPOSES]
    flipped = [
        one if one.dataset == "validation" else ScoreList(**fields(one) | {"labels": ~one.labels}) for one in lists
    ]
    one, other = measure(lists), measure(flipped)
    forecasts = [[row["forecast"] for row in found["bins"]] for found in (one, other)]
    assert forecasts[0] == forecasts[1]
    assert one["errors"] != other["errors"]


def test_what_maps_are_fitted_on_is_not_judged():
    found = measure([make(name) for name in PURPOSES], fit_on="dev")
    assert {row["dataset"] for row in found["errors"]} == {"a_test", "b_test", "mean"}
    assert found["monitors"]["probe"]["fitted_on"] == ["a_dev"]


def test_a_monitor_without_scores_of_the_fitting_split_is_judged_as_scored_and_says_why():
    lists = [make(name) for name in PURPOSES]
    lists += [make(name, "llm", seed=1) for name in PURPOSES if name != "validation"]
    found = measure(lists, monitors=("probe", "llm"))
    assert {row["recalibration"] for row in found["errors"] if row["monitor"] == "llm"} == {"none"}
    assert "validation" in found["monitors"]["llm"]["reason"]


def test_a_split_of_one_class_gives_no_map():
    lists = [make(name) for name in PURPOSES]
    lists[0] = ScoreList(**fields(lists[0]) | {"labels": np.ones(2000, dtype=bool)})
    assert "one class" in measure(lists)["monitors"]["probe"]["reason"]


def test_an_unknown_monitor_is_an_error_that_names_it():
    with pytest.raises(UserError, match="'nobody' has no scores of a_dev"):
        measure([make(name) for name in PURPOSES], monitors=("nobody",))


def test_every_record_is_in_one_bin_also_at_probability_one():
    sure = [ScoreList(**fields(make(name)) | {"probabilities": np.ones(2000)}) for name in PURPOSES]
    found = measure(sure, maps=())
    rows = [row for row in found["bins"] if row["dataset"] == "pooled" and row["purpose"] == "test"]
    assert {row["binning"]: row["n"] for row in rows} == {"equal width": 4000, "equal mass": 4000}


def test_the_scale_holds_mean_probabilities_and_their_rank_correlation():
    lists = [make(name) for name in PURPOSES]
    found = measure(lists, maps=())
    tested = lists[2]
    (high,) = [row for row in found["scale"] if row["dataset"] == "a_test" and row["stakes"] == 9]
    assert high["mean"] == pytest.approx(tested.probabilities[tested.labels].mean(), abs=1e-4)
    assert high["n"] == tested.labels.sum()
    assert high["low"] < high["mean"] < high["high"]
    stakes = [stakes_of(tested)[id_] for id_ in tested.ids]
    expected = spearmanr(tested.probabilities, stakes).statistic
    assert error(found, "a_test", "none", "stakes_correlation") == pytest.approx(expected, abs=1e-4)


def test_datasets_without_the_scale_have_no_rows_of_it():
    lists = first_seeds([make(name) for name in PURPOSES])
    config = MeasureCalibration(monitors=["probe"], fit_on="validation", recalibrations=[])
    found = measure_calibration(config, lists, PURPOSES, {}, measured=MEASURED, seed=0)
    assert found["scale"] == []
    assert all("stakes_correlation" not in row for row in found["errors"])


def test_the_result_is_plain_json_and_does_not_depend_on_the_order_of_records():
    lists = [make(name, size=300) for name in PURPOSES]
    order = np.random.default_rng(3).permutation(300)
    shuffled = [ScoreList(**{key: reorder(value, order) for key, value in fields(one).items()}) for one in lists]
    assert json.dumps(measure(lists)) == json.dumps(measure(shuffled))


def fields(one):
    names = ("dataset", "probe", "seed", "ids", "groups", "labels", "logits", "probabilities")
    return {name: getattr(one, name) for name in names}


def reorder(value, order):
    if isinstance(value, np.ndarray):
        return value[order]
    return tuple(value[row] for row in order) if isinstance(value, tuple) else value
