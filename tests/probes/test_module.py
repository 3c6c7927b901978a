"""A probe as a torch module: linear families, and one whose tokens pass a layer of their own."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.stats import median_abs_deviation

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import Descent, DescentConfig, Family, Weights, random_directions
from models_under_pressure.probes.module import ProbeModule
from models_under_pressure.probes.pooling import MeanStream, Segments, pool_mean
from models_under_pressure.probes.probe import Probe, device_of
from models_under_pressure.probes.space import Space, robust_space
from models_under_pressure.probes.streaming import RunningScore
from models_under_pressure.probes.training import continue_probe, fit_probe

HIDDEN = 16


class Config(DescentConfig):
    family: Literal["two_layers"] = "two_layers"


def start(mean, config, generator):
    out = {"out": generator.normal(size=(5, 1))}
    return Weights(random_directions(len(mean.projection), 5, generator), np.zeros(5), out)


TWO_LAYERS = Family(
    config=Config,
    pool=pool_mean,
    stream=MeanStream,
    fitting=Descent(start=start),
    columns=lambda config: 5,
    more=lambda config: {"out": (5, 1)},
    transform=lambda projections, more, config: projections.relu() @ more["out"],
)


@pytest.fixture
def two_layers(monkeypatch):
    """A family with a layer between projection and pooling, as if it were a file of its own."""
    monkeypatch.setitem(FAMILIES, "two_layers", TWO_LAYERS)
    return Config(epochs=40, learning_rate=0.05)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_module_gives_logits_and_contributions_where_the_tokens_are(name, planted):
    config, generator = FAMILIES[name].config(), np.random.default_rng(0)
    columns = FAMILIES[name].columns(config)
    shapes = {"projection": (HIDDEN, columns), "bias": (columns,), **FAMILIES[name].more(config)}
    probe = Probe(config, {key: generator.normal(size=shape) for key, shape in shapes.items()})
    tokens = torch.randn(9, HIDDEN, generator=torch.Generator().manual_seed(0)).double()
    ends = np.array([0, 0, 1, 0, 0, 1, 0, 0, 0], dtype=bool)
    pooled = probe.module(tokens, Segments.of([0, 4, 9], ends))
    torch.testing.assert_close(pooled.contributions[:4].sum(), pooled.logits[0])
    assert {key: tuple(value.shape) for key, value in probe.module.state_dict().items()} == shapes
    assert probe.parameters == sum(int(np.prod(shape)) for shape in shapes.values())
    assert not any(parameter.requires_grad for parameter in probe.module.parameters())


def test_weights_of_single_precision_are_computed_in_double():
    weights = {"projection": np.ones((2, 1), dtype=np.float32) / 3, "bias": np.zeros(1, dtype=np.float32)}
    module = Probe(FAMILIES["mean"].config(), weights).module
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}


def test_a_space_is_made_of_the_medians_of_each_feature_and_of_its_deviation_where_most_tokens_are_alike():
    sample = np.random.default_rng(0).normal(size=(99, 4)) * [1, 5, 0, 0] + [3, -2, 7, 0]
    sample[:3, 3] = 10, -20, 0.1
    sample = sample.astype(np.float32)
    found = robust_space(sample)
    np.testing.assert_array_equal(found.centre, np.median(sample, axis=0))
    spread = median_abs_deviation(sample[:, :2].astype(float), axis=0, scale="normal")
    np.testing.assert_allclose(found.scale[:2], spread, rtol=1e-4)
    np.testing.assert_allclose(found.scale[2:], [1.0, sample[:, 3].std(dtype=float)], rtol=1e-12)
    assert found.centre.dtype == found.scale.dtype == np.float64


def test_the_space_of_the_training_is_no_part_of_what_is_kept():
    weights = Weights(np.ones((2, 1)), np.zeros(1))
    module = ProbeModule(FAMILIES["mean"], FAMILIES["mean"].config(), weights, Space(np.ones(2), np.ones(2)))
    assert set(module.state_dict()) == {"projection", "bias"}


def test_a_layer_of_its_own_may_depend_on_the_settings(two_layers):
    family = replace(TWO_LAYERS, transform=lambda projections, more, config: projections * config.epochs)
    module = ProbeModule(family, two_layers, Weights(np.ones((2, 1)), np.zeros(1)))
    assert module.transform(torch.ones(1, 1)).item() == two_layers.epochs == 40


def test_a_family_with_a_layer_of_its_own_learns_and_its_running_score_is_that_of_the_batch(two_layers, planted):
    data, held_out = planted(records=200, seed=1), planted(records=200, seed=2)
    probe = fit_probe(two_layers, data, held_out, seed=0)
    assert probe.metrics["validation_auroc"] > 0.9
    assert set(probe.weights) == {"projection", "bias", "out"}
    logits, activations = probe.decision_function(held_out.activations), held_out.activations
    for record in (0, 1):
        own = slice(*activations.offsets[record : record + 2])
        running = RunningScore(probe)
        running.update(activations.values[own], activations.roles[own], np.zeros(own.stop - own.start))
        assert running.logit == pytest.approx(logits[record], abs=1e-9)


def test_it_is_continued_with_all_its_layers(two_layers, planted):
    data = planted(seed=1)
    probe = fit_probe(two_layers, data, None, seed=0)
    still = two_layers.model_copy(update={"epochs": 1, "learning_rate": 1e-12, "final_learning_rate": 0.0})
    found = continue_probe(probe, data, None, settings=still)
    np.testing.assert_allclose(found.weights["out"], probe.weights["out"], rtol=1e-6)
    np.testing.assert_allclose(
        found.decision_function(data.activations), probe.decision_function(data.activations), rtol=1e-6, atol=1e-9
    )


def test_its_gradient_passes_the_space_of_the_training(two_layers, planted):
    # Ten times as large activations are the same features, and give the same probe.
    data = planted(seed=1)
    one = fit_probe(two_layers, data, None, seed=0)
    data.activations.values[:] *= 8
    eight = fit_probe(two_layers, data, None, seed=0)
    np.testing.assert_allclose(eight.weights["projection"] * 8, one.weights["projection"], rtol=1e-3, atol=1e-5)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto").type == "cpu"
    with pytest.raises(UserError, match="torch finds no GPU"):
        device_of("cuda")
