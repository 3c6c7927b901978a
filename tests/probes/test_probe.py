"""What a probe says of itself, and what it says of files that are none: no fitting, no model."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from models_under_pressure.core.concept import STAKES, Classes
from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.limits import LIMITS
from models_under_pressure.probes.calibration import Sigmoid, Threshold
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.markers import marker_of_texts
from models_under_pressure.probes.probe import (
    Probe,
    device_of,
    load_probe,
    model_card,
    save_probe,
    score_together,
    weights_bytes,
    weights_hash,
)

WEIGHTS = {"projection": np.array([[1.0], [-2.0]]), "bias": np.array([0.5])}
ORIGIN = {"model": "tiny", "layer": 3, "keep": "tokens"}


def mean_probe(**more):
    return Probe(FAMILIES["mean"].config(seeds=3), WEIGHTS, **{"seed": 7, "provenance": ORIGIN} | more)


def test_it_knows_its_family_width_directions_numbers_and_classes():
    probe = mean_probe()
    assert (probe.family, probe.hidden, probe.directions, probe.parameters) == ("mean", 2, 1, 3)
    assert (probe.sentence_end_ids, probe.marker) == (None, None)
    assert probe.classes == STAKES
    words = Classes(positive="unsafe", negative="safe", ambiguous="unclear")
    assert mean_probe(provenance=ORIGIN | {"classes": words.model_dump()}).classes == words
    marked = marker_of_texts("ab", ["a", "b"])
    ends = np.array([4, 5])
    more = Probe(FAMILIES["mean"].config(after="ab"), WEIGHTS | marked.weights | {"sentence_end_ids": ends})
    assert (more.parameters, more.sentence_end_ids) == (3, ends)
    assert more.marker.weights.keys() == marked.weights.keys()
    assert more.marker.ids is marked.ids
    assert more.marker.moves is marked.moves


def test_probabilities_are_the_sigmoid_unless_it_is_calibrated(ragged):
    data = ragged([np.array([[1.0, 0.0], [3.0, 1.0]])], attributes=ORIGIN)
    probe = mean_probe()
    np.testing.assert_allclose(probe.decision_function(data), [(1.5 + 1.5) / 2])
    np.testing.assert_allclose(probe.contributions(data), [0.75, 0.75])
    np.testing.assert_allclose(probe.score_tokens(data), [1.5, 1.5])
    np.testing.assert_allclose(probe.predict_proba(data), [1 / (1 + np.exp(-1.5))])
    calibrated = mean_probe(calibration=Sigmoid(slope=2.0, intercept=-3.0))
    np.testing.assert_allclose(calibrated.predict_proba(data), [0.5])
    np.testing.assert_allclose(calibrated.decision_function(data), [1.5])


def test_activations_of_another_width_or_origin_are_refused_in_one_line(ragged):
    probe = mean_probe()
    with pytest.raises(UserError) as caught:
        probe.check(ragged([np.ones((1, 5))], attributes=ORIGIN))
    assert str(caught.value) == (
        "the activations are 5 wide, the probe was made for 2. Remedy: use activations of the probe's own model."
    )
    other = ragged([np.ones((1, 2))], attributes=ORIGIN | {"layer": 4})
    for score in (probe.check, probe.score_tokens, probe.contributions, lambda data: score_together([probe], data)):
        with pytest.raises(UserError, match="^the activations were not made where the probe reads: layer is 4, not 3"):
            score(other)


@pytest.mark.parametrize(
    ("has_gpu", "found"),
    [(True, {"auto": "cuda", "cuda": "cuda", "cpu": "cpu"}), (False, {"auto": "cpu", "cpu": "cpu"})],
)
def test_a_gpu_is_used_where_there_is_one_and_it_is_not_declined(monkeypatch, has_gpu, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert {name: device_of(name).type for name in found} == found
    if not has_gpu:
        with pytest.raises(UserError) as caught:
            device_of("cuda")
        assert str(caught.value) == "torch finds no GPU. Remedy: use the device auto or cpu."


@pytest.fixture
def folder(tmp_path):
    save_probe(mean_probe(metrics={"validation_auroc": 0.75}), tmp_path)
    return tmp_path


def test_its_description_holds_the_hash_of_the_weights_and_everything_that_was_fitted(folder):
    content = json.loads((folder / "probe.json").read_text())
    weights = (folder / "weights.safetensors").read_bytes()
    assert weights == weights_bytes(mean_probe())
    assert content["weights_sha256"] == hashlib.sha256(weights).hexdigest() == weights_hash(mean_probe())
    assert set(content) == {
        "format", "weights_sha256", "config", "seed", "provenance", "thresholds", "calibration", "metrics",
        "description_sha256",
    }  # fmt: skip
    assert (content["format"], content["seed"], content["provenance"]) == (2, 7, ORIGIN)
    loaded = load_probe(folder)
    np.testing.assert_array_equal(loaded.weights["projection"], WEIGHTS["projection"])
    assert (loaded.seed, dict(loaded.provenance), loaded.metrics) == (7, ORIGIN, {"validation_auroc": 0.75})


def test_weights_are_the_same_bytes_in_any_order_and_layout_of_memory():
    turned = {"bias": WEIGHTS["bias"], "projection": np.asfortranarray(np.tile(WEIGHTS["projection"], (1, 3)))[:, :1]}
    assert weights_bytes(Probe(FAMILIES["mean"].config(), turned)) == weights_bytes(mean_probe())


def refusal(folder):
    with pytest.raises(UserError) as caught:
        load_probe(folder)
    return caught.value


def test_a_changed_description_names_its_file_and_the_way_back(folder):
    path = folder / "probe.json"
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    told = refusal(folder)
    assert told.problem == "the description is damaged, or was changed after the probe was saved."
    assert (told.where, told.remedy) == (str(path), "run `dvc checkout`, or train it again.")


def rewritten(folder, **changes):
    """A description without a hash of its own, as older probes have, of the weights that are there."""
    path = folder / "probe.json"
    content = json.loads(path.read_text()) | changes
    del content["description_sha256"]
    content["weights_sha256"] = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    path.write_text(json.dumps(content))


def test_a_description_that_is_none_names_the_part_and_the_remedy(folder):
    rewritten(folder, config="mean")
    told = refusal(folder)
    assert told.problem.startswith("not a probe (`config`: ")
    assert (told.where, told.remedy) == (str(folder / "probe.json"), "train it again.")


def test_a_provenance_that_nothing_can_be_read_with_is_told_by_its_key(folder):
    rewritten(folder, provenance=ORIGIN | {"layers": [1, -1]})
    assert refusal(folder).problem == (
        "not a probe (`provenance`: Value error, layers.1: Input should be greater than or equal to 0)."
    )


def test_a_probe_of_the_first_format_saw_the_first_token(folder):
    config = json.loads((folder / "probe.json").read_text())["config"]
    del config["first_token"]
    rewritten(folder, format=1, config=config | {"family": "difference_of_means", "standardise": False})
    content = json.loads((folder / "probe.json").read_text())
    for name in ("inverse_regularisation", "candidates", "fit_intercept"):
        content["config"].pop(name, None)
    (folder / "probe.json").write_text(json.dumps(content))
    assert load_probe(folder).config.first_token is True


def test_damaged_weights_name_their_file_and_the_remedy(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    told = refusal(folder)
    assert told.problem == "the weights are damaged, or of another probe than the description beside them."
    assert (told.where, told.remedy) == (str(path), "run `dvc checkout`, or train the probe again.")


WRONG = {
    "the arrays are ['bias'], not ['bias', 'projection']": lambda w: {"bias": w["bias"]},
    "the arrays are ['bias', 'more', 'projection'], not ['bias', 'projection']": lambda w: w | {"more": w["bias"]},
    "projection is empty": lambda w: w | {"projection": np.zeros((0, 1))},
    "the shape of projection is (2,), not (2, 1)": lambda w: w | {"projection": w["projection"][:, 0].copy()},
    "the shape of bias is (2,), not (1,)": lambda w: w | {"bias": np.zeros(2)},
    "not every number of bias is finite": lambda w: w | {"bias": np.array([-np.inf])},
    "not every number of projection is finite": lambda w: w | {"projection": np.array([[1], [2]])},
}


@pytest.mark.parametrize("problem", WRONG)
def test_weights_of_another_kind_of_probe_are_refused_by_what_is_wrong(problem, folder):
    path = folder / "weights.safetensors"
    save_file(WRONG[problem](load_file(path)), path)
    rewritten(folder)
    told = refusal(folder)
    assert told.problem == f"the weights are not those of a mean probe ({problem})."
    assert (told.where, told.remedy) == (str(path), "run `dvc checkout`, or train the probe again.")


@pytest.mark.parametrize("ends", [None, np.array([1.0]), np.array([[1]]), np.array([1, 5])])
def test_a_probe_of_sentences_needs_a_list_of_their_ends(ends, tmp_path):
    weights = WEIGHTS if ends is None else WEIGHTS | {"sentence_end_ids": ends}
    save_probe(Probe(FAMILIES["sentence_mean_max"].config(), weights), tmp_path)
    if ends is not None and ends.ndim == 1 and ends.dtype.kind == "i":
        assert load_probe(tmp_path).sentence_end_ids.tolist() == [1, 5]
    else:
        wrong = "the arrays are" if ends is None else "sentence_end_ids is no list of whole numbers"
        assert refusal(tmp_path).problem.startswith(f"the weights are not those of a sentence_mean_max probe ({wrong}")


def test_a_probe_that_stands_after_a_marker_needs_its_search(tmp_path):
    config, marker = FAMILIES["mean"].config(after="ab"), marker_of_texts("ab", ["a", "b"]).weights
    save_probe(Probe(config, WEIGHTS | marker), tmp_path / "right")
    assert load_probe(tmp_path / "right").marker is not None
    for wrong in ({}, {"marker_ids": marker["marker_ids"]}, marker | {"marker_moves": marker["marker_moves"] + 2}):
        save_probe(Probe(config, WEIGHTS | wrong), tmp_path / "wrong")
        assert refusal(tmp_path / "wrong").problem.startswith("the weights are not those of a mean probe (")


HUB = {"org/name": "org/name", "name": None, "./name": None, "/models/name": None, "~/name": None, "a/b/c": None}


@pytest.mark.parametrize("model", HUB)
def test_the_card_names_a_base_model_only_where_the_hub_has_one(model):
    header = model_card(mean_probe(provenance=ORIGIN | {"model": model})).split("---\n")[1]
    assert header == (
        "library_name: models-under-pressure\ntags:\n- activation-probe\n- safety\n"
        + (f"base_model: {model}\n" if HUB[model] else "")
    )


def test_the_card_says_what_it_is_for_what_not_and_where_it_comes_from():
    words = Classes(positive="unsafe", negative="safe", ambiguous="unclear").model_dump()
    row = Threshold(
        budget=0.01, logit=1.5, fpr=0.005, fpr_low=0.001, fpr_high=0.02, tpr=0.5, negatives=200, positives=90
    )
    card = model_card(mean_probe(provenance=ORIGIN | {"classes": words}, thresholds=(row,), metrics={"m": 0.125}))
    for line in (
        "# mean probe for tiny, layer 3",
        "Scores conversations as unsafe or safe from the activations of a language model",
        *(f"- {limit}" for limit in LIMITS),
        "| m | 0.125 |",
        "| 0.01 | – | 1.5 | 0.0050 (0.0010 to 0.0200, n = 200) | 0.5000 (n = 90) |",
        "Calibration of probabilities: none: the sigmoid of the logit.",
        "| family | mean |",
        "| keep | tokens |",
        "| seed | 7 |",
    ):
        assert line in card.splitlines(), line
    assert "| seeds |" not in card, "how many were fitted together says nothing of this one"
    assert "| classes |" not in card
    assert "| layer | 3 |" in model_card(mean_probe())
    assert "an unnamed model" in model_card(mean_probe(provenance={}))


def test_what_is_pooled_is_the_projection_or_what_the_family_makes_of_it():
    projections = np.array([[1.0], [-2.0]])
    assert mean_probe().transformed(projections) is projections
    family = FAMILIES["mlp"]
    config, generator = family.config(width=3), np.random.default_rng(0)
    shapes = {"projection": (2, family.columns(config)), "bias": (family.columns(config),), **family.more(config)}
    probe = Probe(config, {name: generator.normal(size=shape) for name, shape in shapes.items()})
    values = generator.normal(size=(5, 3))
    more = {name: torch.from_numpy(probe.weights[name]) for name in family.more(config)}
    expected = family.transform(torch.from_numpy(values), more, config)
    np.testing.assert_allclose(probe.transformed(values), expected)
