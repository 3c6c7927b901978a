"""Training on one kind of prompt, testing on every kind."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.core.errors import UserError
from models_under_pressure.experiments.measure_generalisation import MeasureGeneralisation
from models_under_pressure.experiments.measure_generalisation import run as measure_generalisation
from models_under_pressure.experiments.shared.sets import take
from models_under_pressure.experiments.shared.setting import Setting
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probe

PROBE = FAMILIES["attention"].config(epochs=3)
TONES = {"tone": ["calm", "calm", "angry", "angry", "calm", "calm"]}


def config(attribute, least):
    return MeasureGeneralisation(attributes=(attribute,), least=least, probe=PROBE)


@pytest.fixture(scope="module")
def setting(make_set):
    return Setting(make_set(fields=TONES), make_set("validation", seed=1, records=48, fields=TONES))


def test_every_value_is_trained_on_and_tested_with_every_value(setting):
    rows = measure_generalisation(config("tone", 2), setting)
    assert [(row["trained_on"], row["tested_on"]) for row in rows] == [
        ("calm", "calm"),
        ("calm", "angry"),
        ("angry", "calm"),
        ("angry", "angry"),
    ]
    assert [row["n_train"] for row in rows] == [40, 40, 20, 20]
    assert [row["n"] for row in rows] == [32, 16, 32, 16]


def test_a_cell_is_the_probe_of_that_value_alone(setting):
    train, tested = setting.train, setting.validation
    rows = measure_generalisation(config("tone", 2), replace(setting, seed=4))
    angry = [np.flatnonzero([record.fields["tone"] == "angry" for record in one.records]) for one in (train, tested)]
    probe = fit_probe(PROBE, take(train, angry[0]).data, None, seed=4)
    part = take(tested, angry[1]).data
    expected = roc_auc_score(part.labels, probe.decision_function(part.activations))
    assert rows[-1]["auroc"] == pytest.approx(expected, abs=1e-4)


def test_values_with_too_few_records_are_named_and_not_scored(setting, make_set):
    rare = make_set("rare", seed=2, records=8, fields={"tone": ["calm"] * 6 + ["odd"] * 2})
    rows = measure_generalisation(config("tone", 2), replace(setting, train=rare))
    left_out = {(row["trained_on"], row["tested_on"]): row["left_out"] for row in rows if "left_out" in row}
    assert left_out[("odd", "calm")] == "only 1 high-stakes and 1 low-stakes records"
    assert left_out[("calm", "odd")] == "no records to test on"
    assert ("calm", "calm") not in left_out


def test_records_without_the_attribute_are_refused(setting):
    with pytest.raises(UserError, match="60 of 60 records of train have no 'weather'"):
        measure_generalisation(config("weather", 1), setting)
