"""Probes on disk."""

import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file, save_file

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.probe import Probe, load_probe, save_probe
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
    del content["description_sha256"]  # which came later still
    content["config"] |= {"family": "difference_of_means"}
    for name in ("first_token", "inverse_regularisation", "candidates", "fit_intercept"):
        del content["config"][name]
    path.write_text(json.dumps(content))
    assert load_probe(saved).config.first_token


def test_a_probe_of_the_first_format_scores_as_it_did(saved, planted):
    path, data = saved / "probe.json", planted(seed=3).activations
    before = load_probe(saved).decision_function(data)
    content = json.loads(path.read_text()) | {"format": 1}
    del content["description_sha256"]
    path.write_text(json.dumps(content | {"description_sha256": stable_hash(content)}))
    np.testing.assert_array_equal(load_probe(saved).decision_function(data), before)


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
    with pytest.raises(UserError, match="the probe has the format 99, this code reads 1 and 2"):
        load_probe(saved)


def changed(folder, **changes):
    """A description that a stranger made: it needs no hash of its own, and its weights' hash is right."""
    path = folder / "probe.json"
    content = json.loads(path.read_text()) | changes
    content.pop("description_sha256", None)
    content["weights_sha256"] = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    path.write_text(json.dumps(content))


def refusal(folder):
    with pytest.raises(UserError) as caught:
        load_probe(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "change", [{"config": {"family": "nonsense"}}, {"extra": 1}, {"seed": "zero"}, {"calibration": {"kind": "magic"}}]
)
def test_a_description_that_is_not_a_probe_is_refused_in_one_line(saved, change):
    changed(saved, **change)
    assert f"not a probe (`{next(iter(change))}" in refusal(saved)


@pytest.mark.parametrize(
    "change",
    [{"max_tokens": -1}, {"layer": -1}, {"layer": "x"}, {"keep": "all"}, {"hook_point": 3}, {"model": ["a"]}],
    ids=str,
)
def test_a_provenance_that_nothing_can_be_read_with_is_refused(saved, change):
    origin = json.loads((saved / "probe.json").read_text())["provenance"]
    changed(saved, provenance=origin | change)
    assert f"not a probe (`provenance`: Value error, {next(iter(change))}:" in refusal(saved)


@pytest.fixture(scope="session")
def calibrated(planted):
    data, held_out = planted(seed=1, strength=0.3), planted(seed=2, strength=0.3)
    return fit_probe(FAMILIES["mean"].config(calibration="platt"), data, held_out, seed=5)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("key", ["logit", "fpr", "slope", "validation_auroc", "budget"])
def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(text, key, calibrated, tmp_path):
    save_probe(calibrated, tmp_path)
    path = tmp_path / "probe.json"
    path.write_text(re.sub(rf'("{key}"): [-+.e0-9]+', rf"\1: {text}", path.read_text(), count=1))
    assert f"not JSON ({text} is not a finite number)" in refusal(tmp_path)


def test_a_digit_that_was_changed_is_noticed(saved):
    path = saved / "probe.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert "the description is damaged, or was changed after the probe was saved" in refusal(saved)


@pytest.mark.parametrize(
    "curve",
    [
        {"logits": [], "values": []},
        {"logits": [0.0], "values": [0.0, 1.0]},
        {"logits": [1.0, 0.0], "values": [0.0, 1.0]},
        {"logits": [0.0, 1.0], "values": [0.0, 2.0]},
    ],
)
def test_a_curve_of_probabilities_that_is_none_is_refused(saved, curve):
    changed(saved, calibration={"kind": "isotonic"} | curve)
    assert "not a probe (`calibration" in refusal(saved)


FAMILY_OF_WEIGHTS = {
    "no bias": lambda w: {"projection": w["projection"]},
    "no projection": lambda w: {"bias": w["bias"]},
    "one more": lambda w: w | {"x": w["bias"]},
    "NaN": lambda w: w | {"projection": np.full_like(w["projection"], np.nan)},
    "infinite bias": lambda w: w | {"bias": np.array([np.inf])},
    "whole numbers": lambda w: w | {"projection": w["projection"].astype(np.int64)},
    "no width": lambda w: w | {"projection": np.zeros((0, 1))},
    "flat": lambda w: w | {"projection": w["projection"].ravel()},
    "three axes": lambda w: w | {"projection": w["projection"][:, :, None]},
    "two columns": lambda w: {"projection": np.hstack([w["projection"]] * 2), "bias": np.zeros(2)},
    "long bias": lambda w: w | {"bias": np.zeros(3)},
}


@pytest.mark.parametrize("change", FAMILY_OF_WEIGHTS.values(), ids=FAMILY_OF_WEIGHTS)
def test_weights_of_another_shape_or_not_finite_are_refused(saved, change):
    save_file(change(load_file(saved / "weights.safetensors")), saved / "weights.safetensors")
    changed(saved)
    assert "the weights are not those of a mean probe (" in refusal(saved)


HEADERS = {
    "empty": b"",
    "absurd length": b"\xff" * 8 + b"{}",
    "no JSON": (2).to_bytes(8, "little") + b"{]",
    "absurd shape": b'{"bias":{"dtype":"F64","shape":[9999999999999,9999999999999],"data_offsets":[0,8]}}',
    "unknown type": b'{"bias":{"dtype":"X9","shape":[1],"data_offsets":[0,8]}}',
    "brain floats": b'{"bias":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}',
    "nested": b'{"a":' * 9_999,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_none_is_refused(saved, header):
    whole = header if len(header) < 15 else len(header).to_bytes(8, "little") + header + bytes(8)
    (saved / "weights.safetensors").write_bytes(whole)
    changed(saved)
    assert "the weights are not those of a mean probe (" in refusal(saved)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_reads_back_what_it_wrote(family, planted, tmp_path):
    quick = {"epochs": 1} if "epochs" in FAMILIES[family].config.model_fields else {}
    config = FAMILIES[family].config(**quick)
    if FAMILIES[family].by_sentence:  # fitting it asks the model's tokenizer for the ends
        weights = {"projection": np.ones((16, 1)), "bias": np.zeros(1), "sentence_end_ids": np.array([1, 5])}
        probe = Probe(config, weights)
    else:
        probe = fit_probe(config, planted(), planted(seed=1), seed=0)
    save_probe(probe, tmp_path / "probe")
    assert load_probe(tmp_path / "probe").family == family


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


def test_loading_imports_no_torch_and_scoring_nothing_else_that_is_large(saved):
    code = f"""
import sys, pathlib, numpy as np
from models_under_pressure.probes.probe import load_probe
from models_under_pressure.activations.ragged import ArrayActivations
probe = load_probe(pathlib.Path({str(saved)!r}))
assert "torch" not in sys.modules
values, offsets, roles = np.ones((4, 16), np.float32), np.array([0, 1, 4]), np.ones(4, np.int8)
data = ArrayActivations(values, offsets, ["a", "b"], roles, probe.provenance)
probe.predict_proba(data), probe.contributions(data)
print([name for name in ("transformers", "sklearn", "scipy", "zarr") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
