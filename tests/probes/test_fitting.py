"""What a probe is fitted on, what it then sees, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from models_under_pressure.activations.ragged import ASSISTANT, TEMPLATE, USER
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.data import TrainingData, with_labels
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.probe import score_together
from models_under_pressure.probes.tokens import SAMPLE, select, survey
from models_under_pressure.probes.training import fit_probe, fit_probes

FAST = {name: family.config() for name, family in FAMILIES.items() if not family.by_sentence}
FAST = {
    name: config.model_copy(update={"epochs": 3}) if hasattr(config, "epochs") else config
    for name, config in FAST.items()
}
EVERY = ("system", "user", "assistant", "template")


def with_roles(data, ragged, roles):
    parts = np.split(data.activations.values, data.activations.offsets[1:-1])
    return TrainingData(ragged(parts, roles=roles), data.labels, data.groups)


def only(data, ragged, role):
    """The data as if tokens of other roles did not exist."""
    records = zip(data.activations.offsets, data.activations.offsets[1:], strict=False)
    parts = [data.activations.values[begin:end][data.activations.roles[begin:end] == role] for begin, end in records]
    return TrainingData(ragged(parts), data.labels, data.groups)


@pytest.mark.parametrize("name", FAST)
def test_a_probe_of_user_tokens_does_not_see_the_others(planted, ragged, name):
    plain = planted()
    roles = np.random.default_rng(0).choice([USER, USER, ASSISTANT, TEMPLATE], len(plain.activations.values))
    roles[plain.activations.offsets[:-1]] = USER
    data = with_roles(plain, ragged, roles)
    config = FAST[name].model_copy(update={"tokens": ("user",)})
    probe = fit_probe(config, data, data, seed=0)
    reduced = fit_probe(config, only(data, ragged, USER), only(data, ragged, USER), seed=0)
    np.testing.assert_allclose(probe.weights["projection"], reduced.weights["projection"], rtol=1e-5, atol=1e-8)
    logits = probe.decision_function(data.activations)
    np.testing.assert_allclose(logits, probe.decision_function(only(data, ragged, USER).activations), rtol=1e-9)
    contributions = probe.contributions(data.activations)
    assert not contributions[roles != USER].any()
    np.testing.assert_allclose(np.add.reduceat(contributions, data.activations.offsets[:-1]), logits, rtol=1e-9)


@pytest.mark.parametrize("name", FAST)
def test_a_probe_may_leave_out_the_first_token_of_the_template(planted, ragged, name):
    plain = planted(first_token=5000.0)
    starts = plain.activations.offsets[:-1]
    roles = np.full(len(plain.activations.values), USER)
    roles[starts] = TEMPLATE
    data = with_roles(plain, ragged, roles)
    config = FAST[name].model_copy(update={"first_token": False})
    probe, reduced = fit_probe(config, data, data, seed=0), only(data, ragged, USER)
    oracle = fit_probe(config, reduced, reduced, seed=0)
    np.testing.assert_allclose(probe.weights["projection"], oracle.weights["projection"], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(
        probe.decision_function(data.activations), oracle.decision_function(reduced.activations), rtol=1e-9
    )
    assert not probe.contributions(data.activations)[starts].any()


def test_a_record_of_one_token_is_seen_whatever_it_is(planted, ragged):
    data = planted()
    parts = [part[:1] for part in np.split(data.activations.values, data.activations.offsets[1:-1])]
    single = ragged(parts, roles=[TEMPLATE] * len(parts))
    assert np.diff(select(single, EVERY, first_token=False).offsets).tolist() == [1] * len(parts)


def test_difference_of_means_is_not_led_by_a_huge_first_token(planted, ragged):
    splits = []
    for seed in (1, 2):
        plain = planted(records=200, seed=seed, first_token=5000.0)
        roles = np.full(len(plain.activations.values), USER)
        roles[plain.activations.offsets[:-1]] = TEMPLATE
        splits.append(with_roles(plain, ragged, roles))
    config = FAMILIES["difference_of_means"].config()
    assert fit_probe(config, *splits, seed=0).metrics["validation_auroc"] > 0.9
    seeing = config.model_copy(update={"first_token": True})
    assert fit_probe(seeing, *splits, seed=0).metrics["validation_auroc"] < 0.7


def test_the_last_token_is_by_default_one_of_the_text(planted, ragged):
    plain = planted(records=10)
    roles = np.full(len(plain.activations.values), USER)
    roles[plain.activations.offsets[1:] - 1] = TEMPLATE
    data = with_roles(plain, ragged, roles)
    contributions = fit_probe(FAMILIES["last"].config(), data, None, seed=0).contributions(data.activations)
    assert np.flatnonzero(contributions).tolist() == (plain.activations.offsets[1:] - 2).tolist()


@pytest.mark.parametrize("name", FAST)
def test_a_token_scores_as_a_record_that_holds_it_alone(planted, ragged, name):
    data = planted(records=10)
    probe = fit_probe(FAST[name], data, None, seed=0)
    alone = ragged([token[None] for token in data.activations.values])
    np.testing.assert_allclose(probe.score_tokens(data.activations), probe.decision_function(alone), rtol=1e-12)


@pytest.mark.parametrize("name", FAST)
def test_a_record_scores_the_same_in_any_order_and_company(planted, ragged, name):
    data = planted(records=30)
    probe = fit_probe(FAST[name], data, None, seed=0)
    parts = np.split(data.activations.values, data.activations.offsets[1:-1])
    order = np.random.default_rng(0).permutation(30)
    logits = probe.decision_function(data.activations)
    shuffled = probe.decision_function(ragged([parts[record] for record in order]))
    alone = [probe.decision_function(ragged([part]))[0] for part in parts]
    np.testing.assert_allclose(shuffled, logits[order], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(alone, logits, rtol=1e-12, atol=1e-12)


def test_probes_scored_together_score_as_each_alone(planted):
    data = planted()
    probes = [found[0] for found in fit_probes(FAST, data, None, seed=0).values()]
    for probe, logits in zip(probes, score_together(probes, data.activations), strict=True):
        np.testing.assert_allclose(logits, probe.decision_function(data.activations), rtol=1e-12, atol=1e-12)


def test_the_survey_is_the_plain_means_and_last_tokens(planted):
    data = planted()
    found = survey(select(data.activations, EVERY))
    parts = np.split(data.activations.values.astype(np.float64), data.activations.offsets[1:-1])
    np.testing.assert_allclose(found.means, [part.mean(axis=0) for part in parts], rtol=1e-12)
    np.testing.assert_array_equal(found.lasts, [part[-1] for part in parts])
    assert len(found.sample) == min(SAMPLE, len(data.activations.values))


class Counting:
    """Activations that count how often each token is read."""

    def __init__(self, inner):
        self.inner, self.reads = inner, np.zeros(len(inner.values), dtype=int)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def read(self, start, stop):
        self.reads[start:stop] += 1
        return self.inner.read(start, stop)


def test_exact_probes_that_see_the_same_tokens_take_one_pass_whatever_the_seeds(planted):
    data = planted()
    counting = Counting(data.activations)
    configs = {name: FAMILIES[name].config(seeds=2) for name in ("mean", "mean_logistic", "lda")}
    fit_probes(configs, TrainingData(counting, data.labels, data.groups), None, seed=0)
    assert set(counting.reads) == {1}


def test_descent_reads_each_token_once_more_however_many_epochs_when_memory_allows(planted):
    data = planted()
    counting = Counting(data.activations)
    config = FAMILIES["attention"].config(epochs=9, seeds=3)
    fit_probes({"a": config}, TrainingData(counting, data.labels, data.groups), None, seed=0)
    assert set(counting.reads) == {2}


def test_memory_is_counted_in_gib_and_halved_between_the_two_splits(planted):
    data = planted(records=20, hidden=4)
    config, size = FAMILIES["max"].config(epochs=4), data.activations.values.nbytes

    def reads(memory, splits):
        both = [Counting(data.activations) for _ in range(splits)]
        watched = [TrainingData(one, data.labels, data.groups) for one in both] + [None]
        fit_probes({"": config}, *watched[:2], seed=0, memory_gib=memory / 2**30)
        return [set(one.reads) for one in both]

    assert (reads(size, 1), reads(size - 1, 1)) == ([{2}], [{1 + 4}])
    # a held-out split is read before the first epoch too, and once more when the probe is judged
    assert (reads(2 * size, 2), reads(2 * size - 1, 2)) == ([{2}, {2}], [{1 + 4}, {1 + 4 + 1}])


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize("split", ["training", "validation"])
def test_one_class_is_refused(planted, label, split):
    data = planted(records=12)
    single = TrainingData(data.activations, np.full(12, label), data.groups)
    pair = (single, data) if split == "training" else (data, single)
    with pytest.raises(UserError, match=f"the 12 {split} records are all of one class"):
        fit_probe(FAMILIES["mean"].config(), *pair, seed=0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["mean", "attention"])
def test_a_value_that_is_not_finite_is_refused_with_its_record(planted, ragged, value, name):
    data = planted(records=12)
    parts = np.split(data.activations.values.copy(), data.activations.offsets[1:-1])
    parts[7][2, 3] = value
    bad = TrainingData(ragged(parts), data.labels, data.groups)
    with pytest.raises(UserError, match="1 tokens have activations that are NaN or infinite, first in record 'r7'"):
        fit_probe(FAMILIES[name].config(), bad, None, seed=0)
    probe = fit_probe(FAMILIES["mean"].config(), data, None, seed=0)
    with pytest.raises(UserError, match="first in record 'r7'"):
        probe.decision_function(bad.activations)


def test_a_record_without_a_token_that_the_probe_sees_is_refused(planted, ragged):
    data = planted(records=12)
    roles = np.full(len(data.activations.values), USER)
    roles[slice(*data.activations.offsets[4:6])] = ASSISTANT
    with pytest.raises(UserError, match="1 records have no token with the role user, first 'r4'"):
        fit_probe(FAMILIES["mean"].config(tokens=("user",)), with_roles(data, ragged, roles), None, seed=0)


def test_a_record_without_tokens_is_refused(ragged):
    records = ragged([np.ones((2, 4)), np.ones((0, 4)), np.ones((3, 4))])
    with pytest.raises(UserError, match="first 'r1'"):
        fit_probe(
            FAMILIES["mean"].config(),
            TrainingData(records, np.array([True, False, True]), ["a", "b", "c"]),
            None,
            seed=0,
        )


def records_of(data, labels):
    """Labelled records of the activations, in another order than theirs."""
    found = [
        Record(id=id_, input="text", label=label, fields={"group": group})
        for id_, label, group in zip(data.activations.ids, labels, data.groups, strict=True)
    ]
    return found[::-1]


def test_labels_find_their_activations_by_id(planted):
    plain = planted(records=12)
    labels = [Label.HIGH if high else Label.LOW for high in plain.labels]
    data = with_labels(plain.activations, records_of(plain, labels))
    np.testing.assert_array_equal(data.labels, plain.labels)
    assert (data.groups, data.ambiguous) == (plain.groups, 0)


def test_ambiguous_records_are_left_out_counted_and_reported(planted, caplog):
    plain = planted(records=12)
    labels = [Label.HIGH if high else Label.LOW for high in plain.labels]
    labels[3] = labels[8] = Label.AMBIGUOUS
    data = with_labels(plain.activations, records_of(plain, labels))
    assert "2 of 12 records are ambiguous: left out" in caplog.text
    clear = ~np.isin(np.arange(12), [3, 8])
    assert data.activations.ids == [id_ for id_, kept in zip(plain.activations.ids, clear, strict=True) if kept]
    probe = fit_probe(FAMILIES["mean"].config(), data, None, seed=0)
    assert (probe.provenance["training_records"], probe.provenance["ambiguous_left_out"]) == (10, 2)
    without = fit_probe(FAMILIES["mean"].config(), plain.only(clear), None, seed=0)
    np.testing.assert_array_equal(probe.weights["projection"], without.weights["projection"])


def test_a_record_without_label_is_refused(planted):
    data = planted(records=4)
    with pytest.raises(UserError, match="1 records are not labelled, first 'r2'. Remedy: label them, or drop them.$"):
        with_labels(data.activations, records_of(data, [Label.HIGH, Label.LOW, None, Label.LOW]))


def test_labels_of_other_records_are_refused(planted):
    data = planted(records=4)
    told = "of 4 records and there are labels for 3, not the same ones, first 'r3'. Remedy: extract the activations"
    with pytest.raises(UserError, match=f"{told} of this file again .`dvc repro extract`..$"):
        with_labels(data.activations, records_of(data, [Label.HIGH] * 4)[1:])


def test_labels_of_three_kinds_are_refused(planted):
    data = planted(records=3)
    with pytest.raises(ValueError, match="an ambiguous record is neither class"):
        TrainingData(data.activations, np.array([0, 1, 2]), data.groups)


def test_labels_must_be_aligned_with_the_records(planted):
    data = planted(records=3)
    with pytest.raises(ValueError, match="3 records, labels of shape"):
        TrainingData(data.activations, np.array([True, False]), data.groups)


@pytest.mark.parametrize("name", ["model", "revision", "layer", "hook_point", "template_hash", "keep"])
def test_activations_of_another_origin_are_refused(planted, ragged, origin, name):
    data = planted(records=12)
    parts = np.split(data.activations.values, data.activations.offsets[1:-1])
    other = TrainingData(ragged(parts, attributes=origin | {name: "other"}), data.labels, data.groups)
    probe = fit_probe(FAMILIES["mean"].config(), data, None, seed=0)
    probe.check(data.activations)
    for score in (probe.decision_function, probe.predict_proba, probe.score_tokens, probe.contributions):
        with pytest.raises(UserError, match=f"{name} is 'other', not"):
            score(other.activations)
    with pytest.raises(UserError, match=f"{name} is 'other', not"):
        score_together([probe], other.activations)
    with pytest.raises(UserError, match="the validation activations were not made where the probe reads"):
        fit_probe(FAMILIES["mean"].config(), data, other, seed=0)


def test_activations_of_another_width_are_refused(planted):
    probe = fit_probe(FAMILIES["mean"].config(), planted(hidden=16), None, seed=0)
    with pytest.raises(UserError, match="the activations are 8 wide, the probe was made for 16"):
        probe.decision_function(planted(hidden=8).activations)


def test_what_the_probe_keeps_of_its_origin_does_not_depend_on_the_machine(planted, ragged, origin):
    data = planted(records=12)
    parts = np.split(data.activations.values, data.activations.offsets[1:-1])
    hashes = set()
    for device in ("cpu", "cuda"):
        activations = ragged(parts, attributes=origin | {"device": device})
        probe = fit_probe(FAMILIES["mean"].config(), TrainingData(activations, data.labels, data.groups), None, seed=0)
        assert "device" not in probe.provenance
        hashes.add(probe.provenance["training_data_hash"])
    assert len(hashes) == 1


def test_the_training_data_hash_changes_with_a_label(planted):
    data = planted(records=12)
    flipped = data.labels.copy()
    flipped[:2] = ~flipped[:2]
    assert data.content_hash != TrainingData(data.activations, flipped, data.groups).content_hash


@pytest.mark.parametrize("name", FAST)
def test_permuted_labels_teach_nothing(planted, name):
    data, held_out = planted(records=200, seed=1), planted(records=400, seed=2)
    found: list[float] = []
    for seed in range(5):
        labels = np.random.default_rng(seed).permutation(data.labels)
        probe = fit_probe(FAST[name], replace(data, labels=labels), None, seed=seed)
        found.append(auroc(probe.decision_function(held_out.activations), held_out.labels))
    assert (
        abs(np.mean(found) - 0.5) < 0.2
    )  # one fit of 16 random numbers may lean either way; the labels' own: above 0.9


@pytest.mark.parametrize("name", FAST)
def test_the_history_of_a_fit_ends_with_what_the_probe_is_judged_by(planted, name):
    probe = fit_probe(FAST[name], planted(), planted(), seed=0)
    aurocs = [epoch["validation_auroc"] for epoch in probe.history]
    assert len(aurocs) == probe.metrics.get("epochs", 1)
    best = int(probe.metrics.get("best_epoch", 1))
    assert best == 0 or aurocs[best - 1] == pytest.approx(probe.metrics["validation_auroc"], abs=1e-6)
