"""A probe of several layers is the probe of their concatenated activations."""

from dataclasses import replace

import numpy as np
import pytest

from models_under_pressure.activations.layers import LayerStack
from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.probe import load_probe, save_probe
from models_under_pressure.probes.training import fit_probe


@pytest.fixture(scope="module")
def halves(planted, origin):
    """Training data, and its activations as those of two layers of half the width."""
    data = planted(records=60, hidden=16)
    whole = data.activations
    columns = {3: slice(0, 8), 5: slice(8, 16)}
    parts = [
        replace(whole, values=whole.values[:, own], attributes=origin | {"layer": layer})
        for layer, own in columns.items()
    ]
    return data, LayerStack(parts), parts


@pytest.mark.parametrize("family", ["mean_logistic", "attention", "rolling_mean_max"])
def test_its_scores_are_those_of_a_probe_on_the_joined_arrays(halves, family):
    data, stack, _ = halves
    config = FAMILIES[family].config(**({"epochs": 3} if family != "mean_logistic" else {}))
    joined = fit_probe(config, data, data, seed=1)
    layered = replace(data, activations=stack)
    probe = fit_probe(config, layered, layered, seed=1)
    np.testing.assert_array_equal(probe.decision_function(stack), joined.decision_function(data.activations))
    np.testing.assert_array_equal(probe.contributions(stack), joined.contributions(data.activations))


def test_it_says_what_it_reads_and_refuses_anything_else(halves, tmp_path):
    data, stack, parts = halves
    layered = replace(data, activations=stack)
    save_probe(fit_probe(FAMILIES["mean"].config(), layered, None, seed=0), tmp_path)
    probe = load_probe(tmp_path)
    assert probe.provenance["layers"] == [3, 5]
    assert "layers 3, 5" in (tmp_path / "README.md").read_text()
    np.testing.assert_array_equal(probe.decision_function(stack), probe.decision_function(layered.activations))
    other = LayerStack([parts[0], replace(parts[1], attributes=parts[1].attributes | {"layer": 6})])
    with pytest.raises(UserError, match=r"layers is \[3, 6\], not \[3, 5\]"):
        probe.decision_function(other)
    with pytest.raises(UserError, match="layer is 3, not None"):
        probe.decision_function(parts[0])
