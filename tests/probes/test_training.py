"""What fitting puts together: seeds, splits, folds, and what a probe is judged by. Small data, few steps."""

from dataclasses import replace

import numpy as np
import pytest

from models_under_pressure.activations.ragged import ASSISTANT, TEMPLATE, USER, ArrayActivations, View
from models_under_pressure.core.concept import Classes
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.batches import Pools
from models_under_pressure.probes.calibration import fit_calibration, threshold_table
from models_under_pressure.probes.data import TrainingData, in_memory, with_labels
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import DescentConfig, FamilyConfig
from models_under_pressure.probes.logistic import grouped_folds
from models_under_pressure.probes.training import continue_probe, fit_folds, fit_probe, fit_probes

MEAN = FAMILIES["mean_logistic"]
SHORT = {"epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def data(planted):
    return planted(records=24, hidden=4, seed=1, strength=0.3)


@pytest.fixture(scope="module")
def held_out(planted):
    return planted(records=20, hidden=4, seed=2, strength=0.3)


def test_a_solved_probe_holds_what_it_was_fitted_on_and_how_it_was_judged(data, held_out, origin):
    config = MEAN.config(seeds=3, calibration="platt", budgets=(0.1, 0.3))
    probe = fit_probe(config, replace(data, ambiguous=5), held_out, seed=7)
    assert probe.config == config.model_copy(update={"seeds": 1})
    assert probe.seed == 7
    assert probe.provenance == origin | {
        "training_data_hash": data.content_hash,
        "training_records": 24,
        "ambiguous_left_out": 5,
    }
    logits = probe.decision_function(held_out.activations)
    found = auroc(logits, held_out.labels)
    assert probe.metrics == {"validation_auroc": found, "validation_records": 20.0}
    assert probe.history == ({"validation_auroc": found},)
    assert probe.thresholds == threshold_table(logits, held_out.labels, (0.1, 0.3))
    assert probe.calibration == fit_calibration("platt", logits, held_out.labels)
    assert set(probe.weights) == {"projection", "bias"}


def test_a_probe_of_descent_says_its_epochs_and_is_the_best_of_them(data, held_out):
    probe = fit_probe(FAMILIES["max"].config(**SHORT, learning_rate=0.5), data, held_out, seed=0)
    assert (probe.metrics["epochs"], len(probe.history)) == (2.0, 2)
    assert set(probe.metrics) == {"best_epoch", "epochs", "validation_auroc", "validation_records"}
    assert set(probe.history[0]) == {"train_loss", "validation_loss", "validation_auroc"}
    alone = fit_probe(FAMILIES["max"].config(**SHORT), data, None, seed=0)
    assert (alone.metrics, set(alone.history[0])) == ({"best_epoch": 2.0, "epochs": 2.0}, {"train_loss"})
    assert (alone.thresholds, alone.calibration) == ((), None)


def test_every_epoch_has_the_same_batches_of_the_size_that_is_set_in_an_order_that_every_fit_repeats(data, monkeypatch):
    taken, epoch = [], Pools.epoch

    def watched(self, generator):
        found = list(epoch(self, generator))
        taken.append([tuple(batch.records) for batch in found])
        return iter(found)

    monkeypatch.setattr(Pools, "epoch", watched)
    for _ in range(2):
        fit_probe(FAMILIES["max"].config(epochs=4, batch_size=8), data, None, seed=0)
    assert taken[:4] == taken[4:]
    assert [len(batch) for batch in taken[0]] == [8, 8, 8]
    assert {tuple(sorted(batches)) for batches in taken} == {tuple(sorted(taken[0]))}
    assert len(set(map(tuple, taken))) > 1


def test_each_name_gets_its_consecutive_seeds_whatever_is_fitted_beside_it(data, held_out):
    configs = {
        "a": FAMILIES["attention"].config(**SHORT, seeds=2),
        "b": FAMILIES["max"].config(epochs=3, batch_size=5),
        "c": MEAN.config(seeds=2),
        "d": FAMILIES["last"].config(),
    }
    found = fit_probes(configs, data, held_out, seed=4)
    assert {name: [probe.seed for probe in probes] for name, probes in found.items()} == {
        "a": [4, 5], "b": [4], "c": [4, 5], "d": [4],
    }  # fmt: skip
    assert [probe.config for probe in found["a"]] == [configs["a"].model_copy(update={"seeds": 1})] * 2
    first, second = (probe.weights["projection"] for probe in found["a"])
    assert not np.allclose(first, second)
    for name, probes in found.items():
        alone = fit_probe(configs[name], data, held_out, seed=probes[-1].seed)
        np.testing.assert_allclose(probes[-1].weights["projection"], alone.weights["projection"], rtol=1e-4, atol=1e-7)
        assert probes[-1].metrics == pytest.approx(alone.metrics, rel=1e-6)


def test_probes_that_see_other_tokens_are_fitted_on_theirs(data, ragged):
    parts = np.split(data.activations.values, data.activations.offsets[1:-1])
    roles = np.concatenate([[USER] * (len(part) - 1) + [ASSISTANT] for part in parts])
    mixed = TrainingData(ragged(parts, roles=roles), data.labels, data.groups)
    configs = {"u": MEAN.config(tokens=("user",)), "a": MEAN.config(tokens=("assistant",)), "l": MEAN.config(last=1)}
    found = {name: one[0] for name, one in fit_probes(configs, mixed, None, seed=0).items()}
    heads, lasts = [part[:-1] for part in parts], [part[-1:] for part in parts]
    for name, own in (("u", heads), ("a", lasts), ("l", lasts)):
        alone = fit_probe(MEAN.config(), TrainingData(ragged(own), data.labels, data.groups), None, seed=0)
        np.testing.assert_allclose(found[name].weights["projection"], alone.weights["projection"], rtol=1e-9)


def test_the_first_token_of_the_template_is_fitted_on_where_the_settings_say_so(data, ragged):
    parts = np.split(data.activations.values, data.activations.offsets[1:-1])
    roles = np.concatenate([[TEMPLATE] + [USER] * (len(part) - 1) for part in parts])
    framed = TrainingData(ragged(parts, roles=roles), data.labels, data.groups)
    for first_token, own in ((True, parts), (False, [part[1:] for part in parts])):
        config = MEAN.config(tokens=("user", "template"), first_token=first_token)
        found = fit_probe(config, framed, None, seed=0).weights["projection"]
        alone = fit_probe(MEAN.config(), TrainingData(ragged(own), data.labels, data.groups), None, seed=0)
        np.testing.assert_allclose(found, alone.weights["projection"], rtol=1e-9)


def test_a_record_that_the_extraction_refused_needs_no_activations_and_the_others_bring_their_words(
    data, ragged, origin
):
    words = Classes(positive="rude", negative="kind")
    some = ragged(np.split(data.activations.values[:6], 2), attributes=origin | {"refused": ["r7"]})
    labels = {"r7": Label.HIGH, "r1": Label.LOW, "r0": Label.HIGH}
    records = [Record(id=id_, input="text", label=label, classes=words) for id_, label in labels.items()]
    found = with_labels(some, records)
    assert (found.labels.tolist(), found.labels.dtype, found.classes) == ([True, False], bool, words)


def test_some_records_keep_the_words_for_their_classes(data):
    words = Classes(positive="rude", negative="kind")
    assert replace(data, classes=words).only(np.array([0, 3])).classes == words


def test_activations_are_held_in_memory_where_they_fit(data):
    own = replace(data.activations, token_ids=np.arange(len(data.activations.values)))
    view, size = View([(own, np.arange(24))]), own.values.nbytes
    assert in_memory(view, (size - 1) / 2**30) is view
    held = in_memory(view, size / 2**30)
    assert isinstance(held, ArrayActivations)
    for name in ("values", "offsets", "ids", "roles", "token_ids"):
        np.testing.assert_array_equal(getattr(held, name), getattr(own, name))
    assert held.attributes == own.attributes


def test_a_fold_is_scored_by_the_probe_of_all_others(data):
    config = FAMILIES["difference_of_means"].config()
    folds = grouped_folds(data.labels, data.groups, 3, 5)
    found = list(fit_folds(config, data, 3, seed=5))
    assert len(found) == 3
    for (probe, rest), (train, test) in zip(found, folds, strict=True):
        assert list(rest.activations.ids) == [f"r{row}" for row in test]
        assert (rest.labels.tolist(), rest.groups) == (data.labels[test].tolist(), [data.groups[row] for row in test])
        expected = fit_probe(config, data.only(train), None, seed=5)
        np.testing.assert_array_equal(probe.weights["projection"], expected.weights["projection"])
        assert (probe.seed, probe.thresholds, probe.metrics) == (5, (), {})


@pytest.mark.parametrize("name", ["mean_logistic", "attention", "mlp"])
def test_going_on_with_steps_of_no_length_is_the_same_probe_with_another_origin(name, data, held_out):
    small = {key: value for key, value in (SHORT | {"width": 3}).items() if key in FAMILIES[name].config.model_fields}
    probe = fit_probe(FAMILIES[name].config(**small), data, held_out, seed=3)
    still = DescentConfig(family=name, epochs=1, learning_rate=1e-12, final_learning_rate=0.0)
    found = continue_probe(probe, held_out, None, settings=still)
    np.testing.assert_allclose(
        found.decision_function(data.activations), probe.decision_function(data.activations), rtol=1e-6, atol=1e-9
    )
    assert (found.seed, found.config, found.metrics) == (3, probe.config, {"best_epoch": 1.0, "epochs": 1.0})
    assert found.provenance["training_data_hash"] == held_out.content_hash
    assert found.weights.keys() == probe.weights.keys()


def test_going_on_takes_the_settings_of_the_probe_where_none_are_given(data, held_out):
    probe = fit_probe(FAMILIES["attention"].config(epochs=3), data, None, seed=0)
    found = continue_probe(probe, data, held_out)
    assert found.metrics["epochs"] == 3.0
    assert found.metrics["validation_records"] == 20.0


def test_a_solved_probe_goes_on_with_the_settings_that_descent_has_by_default(planted):
    clear = planted(records=24, hidden=4, strength=9.0)
    probe, usual = fit_probe(MEAN.config(), clear, None, seed=0), DescentConfig(family="mean_logistic")
    found = continue_probe(probe, clear, clear)  # nothing is better than its start, so that patience ends it
    assert (found.metrics["best_epoch"], found.metrics["epochs"]) == (0.0, usual.patience)


def test_going_on_is_refused_as_fitting_is_whichever_split_is_wrong(data, held_out):
    probe, high = fit_probe(MEAN.config(), data, None, seed=0), data.only(data.labels)
    for splits, name in (((high, held_out), "training"), ((data, high), "validation")):
        with pytest.raises(UserError, match=f"^the 12 {name} records are all of one class"):
            continue_probe(probe, *splits)


def test_a_family_of_descent_is_not_fitted_without_settings_of_descent(data):
    bare = {"bare": FamilyConfig(family="attention")}
    for configs in (bare, bare | {"max": FAMILIES["max"].config(**SHORT)}):
        with pytest.raises(TypeError, match="^family attention fits by descent and needs a DescentConfig$"):
            fit_probes(configs, data, None, seed=0)


def test_a_split_of_one_class_is_told_by_its_name_and_another_origin_too(data, held_out, ragged, origin):
    high = data.only(data.labels)
    words = "give records of both classes, high-stakes and low-stakes."
    for splits, name in (((high, held_out), "training"), ((data, high), "validation")):
        with pytest.raises(UserError) as caught:
            fit_probe(MEAN.config(), *splits, seed=0)
        assert str(caught.value) == f"the 12 {name} records are all of one class. Remedy: {words}"
    parts = np.split(held_out.activations.values, held_out.activations.offsets[1:-1])
    attributes = origin | {"layer": 9, "keep": "mean"}
    other = replace(held_out, activations=ragged(parts, attributes=attributes))
    with pytest.raises(UserError) as caught:
        fit_probe(MEAN.config(), data, other, seed=0)
    assert str(caught.value) == (
        "the validation activations were not made where the probe reads: layer is 9, not 3; keep is 'mean', not "
        "'tokens'. Remedy: extract them with the probe's model, layer and hook point, or train a probe for them."
    )
