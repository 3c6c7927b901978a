"""Probes on disk."""

import json
import subprocess
import sys

import numpy as np
import pytest
from ruamel.yaml import YAML

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.probe import load_probe, save_probe
from models_under_pressure.probes.training import fit_probe


@pytest.fixture(params=["none", "platt", "isotonic", "temperature"])
def probe(request, planted):
    data, held_out = planted(seed=1, strength=0.3), planted(seed=2, strength=0.3)
    config = FAMILIES["attention"].config(epochs=3, calibration=request.param, tokens=("user", "assistant"))
    return fit_probe(config, data, held_out, seed=5)


def test_a_probe_survives_the_disk_to_the_last_bit(probe, planted, tmp_path):
    save_probe(probe, tmp_path / "probe")
    loaded = load_probe(tmp_path / "probe")
    data = planted(seed=3).activations
    np.testing.assert_array_equal(loaded.decision_function(data), probe.decision_function(data))
    np.testing.assert_array_equal(loaded.predict_proba(data), probe.predict_proba(data))
    for name in ("config", "seed", "provenance", "thresholds", "calibration", "metrics", "family"):
        assert getattr(loaded, name) == getattr(probe, name)


def test_the_same_probe_gives_the_same_bytes(probe, tmp_path):
    for name in ("a", "b"):
        save_probe(probe, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["README.md", "probe.json", "weights.safetensors"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_loaded_probe_saves_to_the_same_bytes(probe, tmp_path):
    save_probe(probe, tmp_path / "a")
    save_probe(load_probe(tmp_path / "a"), tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.fixture
def saved(planted, tmp_path):
    save_probe(fit_probe(FAMILIES["mean"].config(), planted(), planted(seed=1), seed=0), tmp_path / "probe")
    return tmp_path / "probe"


def test_a_probe_from_before_the_choice_of_the_first_token_saw_it(saved):
    path = saved / "probe.json"
    content = json.loads(path.read_text())
    content["config"] |= {"family": "difference_of_means"}
    for name in ("first_token", "inverse_regularisation", "candidates", "fit_intercept"):
        del content["config"][name]
    path.write_text(json.dumps(content))
    assert load_probe(saved).config.first_token


def test_damaged_weights_are_refused(saved):
    content = bytearray((saved / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (saved / "weights.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="damaged, or of another probe"):
        load_probe(saved)


def test_a_pickle_in_place_of_the_weights_is_never_opened(saved, tmp_path):
    trace = tmp_path / "ran"
    # A pickle that would create a file if it were opened.
    (saved / "weights.safetensors").write_bytes(f"cbuiltins\nopen\n(V{trace}\nVw\ntR.".encode())
    with pytest.raises(UserError, match="damaged"):
        load_probe(saved)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "probe.json"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(UserError, match=f"{name}: file not found"):
        load_probe(saved)


def test_an_unknown_format_is_refused_before_anything_else(saved):
    (saved / "probe.json").write_text(json.dumps({"format": 99, "shape": "unknown"}))
    with pytest.raises(UserError, match="the probe has the format 99, this code reads 1"):
        load_probe(saved)


@pytest.mark.parametrize("change", [{"config": {"family": "nonsense"}}, {"extra": 1}, {"seed": "zero"}])
def test_a_description_that_is_not_a_probe_is_refused_in_one_line(saved, change):
    content = json.loads((saved / "probe.json").read_text())
    (saved / "probe.json").write_text(json.dumps(content | change))
    with pytest.raises(UserError, match=f"not a probe \\(`{next(iter(change))}") as refusal:
        load_probe(saved)
    assert "\n" not in str(refusal.value)


def test_the_card_states_model_layer_thresholds_and_metrics(saved):
    card = (saved / "README.md").read_text()
    _, header, body = card.split("---\n", 2)
    assert YAML(typ="safe").load(header)["library_name"] == "models-under-pressure"
    probe = load_probe(saved)
    for said in ("tiny", "layer 3", "residual", f"{probe.metrics['validation_auroc']:.4g}", "| 0.01 |", "mean"):
        assert said in body


def test_a_card_of_a_hub_model_names_its_base(planted, ragged, origin, tmp_path):
    from models_under_pressure.probes.data import TrainingData

    data = planted()
    parts = np.split(data.activations.values, data.activations.offsets[1:-1])
    for model, base in (("meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B-Instruct"), ("/local/x", None)):
        activations = ragged(parts, attributes=origin | {"model": model})
        probe = fit_probe(FAMILIES["mean"].config(), TrainingData(activations, data.labels, data.groups), None, seed=0)
        save_probe(probe, tmp_path / "hub")
        header = (tmp_path / "hub" / "README.md").read_text().split("---\n")[1]
        assert YAML(typ="safe").load(header).get("base_model") == base


def test_loading_and_scoring_import_neither_torch_nor_scikit_learn(saved):
    code = f"""
import sys, pathlib, numpy as np
from models_under_pressure.probes.probe import load_probe
from models_under_pressure.activations.ragged import ArrayActivations
probe = load_probe(pathlib.Path({str(saved)!r}))
values, offsets, roles = np.ones((4, 16), np.float32), np.array([0, 1, 4]), np.ones(4, np.int8)
data = ArrayActivations(values, offsets, ["a", "b"], roles, probe.provenance)
probe.predict_proba(data), probe.contributions(data)
print([name for name in ("torch", "transformers", "sklearn", "scipy", "zarr") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
