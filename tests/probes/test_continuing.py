"""Going on from a probe's weights, without touching the probe."""

import hashlib

import numpy as np
import pytest

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import DescentConfig
from models_under_pressure.probes.probe import save_probe, weights_bytes
from models_under_pressure.probes.training import continue_probe, fit_probe

NAMES = [name for name in FAMILIES if not FAMILIES[name].by_sentence]


SMALL = {"epochs": 5, "width": 8, "heads": 2}


def fitted(planted, name="attention"):
    known = FAMILIES[name].config.model_fields
    config = FAMILIES[name].config(**{key: value for key, value in SMALL.items() if key in known})
    return fit_probe(config, planted(seed=1, strength=0.3), planted(seed=2, strength=0.3), seed=4)


@pytest.mark.parametrize("name", NAMES)
def test_a_probe_of_any_family_learns_a_new_direction(planted, name):
    probe = fitted(planted, name)
    data, held_out = (planted(records=200, seed=seed, world=1, strength=0.5) for seed in (3, 4))
    before = probe.decision_function(held_out.activations)
    settings = DescentConfig(family=name, epochs=30, learning_rate=0.1)
    continued = continue_probe(probe, data, held_out, settings=settings)
    high, low = before[held_out.labels], before[~held_out.labels]
    auroc_before = (high[:, None] > low[None]).mean()
    assert 1 - continued.metrics["validation_auroc"] < 0.5 * (1 - auroc_before)


@pytest.mark.parametrize("name", NAMES)
def test_the_initial_probe_stays_as_it_is(planted, name):
    probe = fitted(planted, name)
    before = {key: array.copy() for key, array in probe.weights.items()}
    data = planted(seed=3, world=1)
    first = continue_probe(probe, data, None, settings=DescentConfig(family=name, epochs=3))
    for key, array in before.items():
        np.testing.assert_array_equal(probe.weights[key], array)
    # A second continuation starts where the first one did, not where it ended.
    again = continue_probe(probe, data, None, settings=DescentConfig(family=name, epochs=3))
    np.testing.assert_array_equal(first.weights["projection"], again.weights["projection"])
    assert not np.allclose(first.weights["projection"], probe.weights["projection"])


def test_it_begins_at_the_initial_weights(planted):
    probe = fitted(planted)
    tiny = DescentConfig(family="attention", epochs=1, learning_rate=1e-12, final_learning_rate=0.0)
    data = planted(seed=3)
    continued = continue_probe(probe, data, None, settings=tiny)
    np.testing.assert_allclose(
        continued.decision_function(data.activations), probe.decision_function(data.activations), rtol=1e-6, atol=1e-9
    )


def test_a_start_that_is_never_beaten_is_kept(planted):
    probe = fitted(planted)
    data, held_out = planted(records=10, seed=3, world=5), planted(seed=2, strength=0.3)
    wild = DescentConfig(family="attention", epochs=3, learning_rate=5.0)
    continued = continue_probe(probe, data, held_out, settings=wild)
    assert continued.metrics["best_epoch"] == 0
    assert continued.metrics["validation_auroc"] == pytest.approx(probe.metrics["validation_auroc"])


def test_two_records_are_enough(planted):
    probe, data = fitted(planted), planted(seed=3)
    two = data.only(np.isin(np.arange(120), [0, 1]))
    continued = continue_probe(probe, two, None, settings=DescentConfig(family="attention", epochs=4))
    assert np.isfinite(continued.decision_function(data.activations)).all()
    assert continued.metrics["epochs"] == 4


def test_its_origin_names_the_initial_weights_and_the_new_data(planted, tmp_path):
    probe, data = fitted(planted), planted(seed=3)
    continued = continue_probe(probe, data, data)
    assert continued.provenance["continued_from"] == hashlib.sha256(weights_bytes(probe)).hexdigest()
    assert continued.provenance["training_data_hash"] == data.content_hash
    assert (continued.seed, continued.config) == (probe.seed, probe.config)
    assert continued.thresholds != probe.thresholds
    save_probe(continued, tmp_path)
    assert "continued_from" in (tmp_path / "README.md").read_text()


def test_without_a_validation_split_the_old_thresholds_are_gone(planted):
    probe = fitted(planted)
    continued = continue_probe(probe, planted(seed=3), None)
    assert probe.thresholds
    assert (continued.thresholds, continued.calibration) == ((), None)


def test_data_of_another_layer_or_of_one_class_are_refused(planted, ragged, origin):
    probe, data = fitted(planted), planted(seed=3)
    parts = np.split(data.activations.values, data.activations.offsets[1:-1])
    other = TrainingData(ragged(parts, attributes=origin | {"layer": 9}), data.labels, data.groups)
    with pytest.raises(UserError, match="layer is 9, not 3"):
        continue_probe(probe, other, None)
    with pytest.raises(UserError, match="all of one class"):
        continue_probe(probe, data.only(data.labels), None)
