"""Probes that see a part of a conversation: its last tokens, or what follows a marker."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from models_under_pressure.activations.config import EMBEDDED_MODEL, ModelConfig
from models_under_pressure.activations.model import describe_model
from models_under_pressure.activations.ragged import ASSISTANT, TEMPLATE, USER, ArrayActivations
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, read_json, stable_hash, write_json
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import DescentConfig
from models_under_pressure.probes.markers import marker_of_model, marker_of_texts
from models_under_pressure.probes.probe import Probe, load_probe, save_probe
from models_under_pressure.probes.streaming import RunningScore
from models_under_pressure.probes.tokens import SENTENCE_END_IDS, select
from models_under_pressure.probes.training import continue_probe, fit_probes

HIDDEN = 6
TEXTS = ["a", "b", ":", "ab", "b:", ":a", "aab", "a:b", "ab:ab", "", "cc"]
"""A vocabulary whose tokens overlap with markers in every way."""


def activations_of(records, roles=None, attributes=None):
    """Random activations of records given as lists of token ids."""
    flat = np.array(list(itertools.chain(*records)), dtype=np.int32)
    generator = np.random.default_rng(len(flat))
    return ArrayActivations(
        values=generator.normal(size=(len(flat), HIDDEN), scale=3).astype(np.float32),
        offsets=np.cumsum([0, *map(len, records)]),
        ids=[f"r{number}" for number in range(len(records))],
        roles=np.full(len(flat), USER, dtype=np.int8) if roles is None else np.array(roles, dtype=np.int8),
        attributes=attributes or {},
        token_ids=flat,
    )


def place_after(text, record):
    """Where the tokens begin that stand after the last occurrence of a text, by looking at the text itself."""
    end = "".join(TEXTS[token] for token in record).rfind(text) + len(text)
    ends = np.cumsum([len(TEXTS[token]) for token in record])
    return len(record) if end < len(text) else int(np.searchsorted(ends, end)) + 1


RECORDS = st.lists(st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=12), min_size=1, max_size=4)


@given(RECORDS, st.text(alphabet="ab:", min_size=1, max_size=4))
def test_what_follows_a_marker_is_found_as_in_the_text_however_tokens_cut_it(records, text):
    found = marker_of_texts(text, TEXTS)
    offsets = np.cumsum([0, *map(len, records)])
    follows = np.split(found.follows(np.concatenate(records), offsets), offsets[1:-1])
    for record, chosen in zip(records, follows, strict=True):
        # a token without text behind the marker follows it too
        begin = place_after(text, record)
        assert chosen.tolist() == [place >= begin for place in range(len(record))]


@given(RECORDS, st.integers(1, 14), st.booleans())
def test_the_last_tokens_are_those_of_the_roles_that_are_seen(records, last, first_token):
    roles = [
        [TEMPLATE, USER, ASSISTANT][(token + place) % 3] for record in records for place, token in enumerate(record)
    ]
    some = activations_of(records, roles)
    seen = ("user", "template")
    try:
        every = select(some, seen, first_token=first_token)
    except UserError:
        return
    found = select(some, seen, first_token=first_token, last=last)
    for begin, stop in itertools.pairwise(some.offsets):
        places = np.flatnonzero(every.chosen[begin:stop])
        assert np.flatnonzero(found.chosen[begin:stop]).tolist() == places[-last:].tolist()


def made(family, chosen, seed):
    """A probe with random weights of what every family has, whose sentences end at `b:`."""
    config = FAMILIES[family].config(**chosen)
    columns, generator = FAMILIES[family].columns(config), np.random.default_rng(seed)
    weights = {"projection": generator.normal(size=(HIDDEN, columns)), "bias": generator.normal(size=columns)}
    weights |= {name: generator.normal(size=shape) for name, shape in FAMILIES[family].more(config).items()}
    weights |= {SENTENCE_END_IDS: np.array([4])} if FAMILIES[family].by_sentence else {}
    return Probe(config, weights | (marker_of_texts(config.after, TEXTS).weights if config.after else {}))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=30)
@given(data=st.data())
def test_a_running_score_sees_the_part_that_the_batch_score_sees(family, data):
    chosen = {
        "after": data.draw(st.sampled_from([None, "a:", "b"])),
        "last": data.draw(st.sampled_from([None, 1, 3])),
        "tokens": data.draw(st.sampled_from([("user",), ("user", "template")])),
        "first_token": data.draw(st.booleans()),
    }
    probe = made(family, chosen, data.draw(st.integers(0, 9)))
    record = data.draw(st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=14))
    roles = [data.draw(st.sampled_from([USER, TEMPLATE])) for _ in record]
    whole = activations_of([record], roles)
    found = RunningScore(probe).update(whole.values, whole.roles, whole.token_ids)
    for count, logit in enumerate(found, start=1):
        part = ArrayActivations(
            whole.values[:count], np.array([0, count]), ["r"], whole.roles[:count], {}, whole.token_ids[:count]
        )
        try:
            (expected,) = probe.decision_function(part)
        except UserError:  # nothing that it sees yet
            assert logit is None
        else:
            assert logit == pytest.approx(expected, rel=1e-9, abs=1e-9)


def answers(texts, tokenizer):
    """Records that say something, then `Answer:` and a word by which the label is told."""
    said = ["".join(text) for text in texts]
    attributes = {"model": EMBEDDED_MODEL, "keep": "tokens", "layer": 1}
    return activations_of([tokenizer(one)["input_ids"] for one in said], attributes=attributes)


@pytest.fixture(scope="module")
def tokenizer():
    return describe_model(ModelConfig()).tokenizer


@pytest.fixture(scope="module")
def fitted(tokenizer):
    """Probes of a part each, fitted together: the vocabulary is read once for all that see the same tokens."""
    labels = np.arange(40) % 2 == 0
    some = answers([("Answer: old. ", "x " * number, "Answer:", " yes" * 3) for number in range(40)], tokenizer)
    answer = marker_of_model("Answer:", some.attributes).follows(some.token_ids, some.offsets)
    spoilt = np.repeat(labels, np.diff(some.offsets)) ^ ~answer  # before the marker labels are upside down
    some.values[:, 0] = np.where(spoilt, 5.0, -5.0)
    data = TrainingData(some, labels, some.ids)
    configs = {
        "after": FAMILIES["mean_logistic"].config(after="Answer:"),
        "last": FAMILIES["mean_logistic"].config(last=3),
        "sentences": FAMILIES["sentence_mean_max"].config(after="Answer:", epochs=2),
    }
    return data, answer, {name: probe for name, (probe,) in fit_probes(configs, data, None, seed=0).items()}


def test_a_probe_is_fitted_on_the_part_and_keeps_its_marker_on_disk(fitted, tmp_path):
    data, answer, probes = fitted
    for name in ("after", "last"):
        save_probe(probes[name], tmp_path / "probe")
        loaded = load_probe(tmp_path / "probe")
        logits = loaded.decision_function(data.activations)
        assert ((logits > 0) == data.labels).all()
        np.testing.assert_array_equal(logits, probes[name].decision_function(data.activations))
        added = loaded.contributions(data.activations)
        assert (added[~answer] == 0).all()
        assert (added[answer] != 0).all()
    assert loaded.parameters == HIDDEN + 1


@pytest.mark.slow
def test_a_probe_of_sentences_has_the_ends_that_the_models_tokenizer_writes_and_keeps_them_as_it_goes_on(
    fitted, tokenizer
):
    data, _, probes = fitted
    probe = probes["sentences"]
    ends = set(tokenizer.batch_decode([[number] for number in probe.sentence_end_ids.tolist()]))
    assert {".", "!", "?"} <= ends
    assert not {" yes", "x", ","} & ends
    assert set(probes["after"].weights) == set(probe.weights) - {SENTENCE_END_IDS}
    continued = continue_probe(probe, data, data, settings=DescentConfig(family="sentence_mean_max", epochs=3))
    assert continued.metrics["epochs"] == 3.0
    for name in set(probe.weights) - {"projection", "bias"}:
        np.testing.assert_array_equal(continued.weights[name], probe.weights[name])


def test_the_card_shows_a_line_break_of_the_marker_as_text(tmp_path):
    save_probe(made("mean", {"after": "a\nb"}, 0), tmp_path)
    assert "| after | a\\nb |" in (tmp_path / "README.md").read_text()


def test_special_tokens_are_a_marker_too(tokenizer):
    (turns,) = (tokenizer("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nso it is")["input_ids"],)
    marker = marker_of_model("<|im_start|>assistant\n", {"model": EMBEDDED_MODEL})
    follows = marker.follows(np.array(turns), np.array([0, len(turns)]))
    assert tokenizer.decode(np.array(turns)[follows]) == "so it is"


def test_a_marker_of_which_tokens_hold_halves_is_refused():
    with pytest.raises(UserError, match="within a character"):
        marker_of_model("🜁", {"model": EMBEDDED_MODEL})


def test_records_without_the_marker_and_activations_without_tokens_are_refused():
    marker = marker_of_texts("a:", TEXTS)
    with pytest.raises(UserError, match=r"1 records have no token with the role user after the marker, first 'r1'"):
        select(activations_of([[7, 1], [1, 1]]), ("user",), marker=marker)
    pooled = activations_of([[1], [1]], attributes={"keep": "mean"})
    for part in ({"marker": marker}, {"last": 1}):
        with pytest.raises(UserError, match="one vector per conversation, which has no part"):
            select(pooled, ("user",), **part)


@pytest.mark.parametrize("damage", ["missing", "out of range", "of another length", "not ascending"])
def test_a_damaged_marker_is_told_where_the_probe_is_read(damage, tmp_path):
    save_probe(made("mean", {"after": "a:b"}, 0), tmp_path)
    weights = load_file(tmp_path / "weights.safetensors")
    moves = weights["marker_moves"]
    if damage == "missing":
        del weights["marker_ids"]
    elif damage == "not ascending":
        weights["marker_ids"] = weights["marker_ids"][::-1].copy()
    else:
        weights["marker_moves"] = moves[:, :2].copy() if damage == "of another length" else moves + 9
    save_file(weights, tmp_path / "weights.safetensors")
    content = read_json(tmp_path / "probe.json")
    content["weights_sha256"] = file_hash(tmp_path / "weights.safetensors")
    del content["description_sha256"]
    write_json(tmp_path / "probe.json", content | {"description_sha256": stable_hash(content)})
    with pytest.raises(UserError, match="the weights are not those of a mean probe"):
        load_probe(tmp_path)
