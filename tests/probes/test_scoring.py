"""Scores of a store that is read in blocks, against each record on its own."""

import numpy as np
import pytest

from models_under_pressure.activations.ragged import TEMPLATE, USER, ArrayActivations
from models_under_pressure.core.errors import UserError
from models_under_pressure.probes import scoring, tokens
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.markers import marker_of_texts
from models_under_pressure.probes.probe import Probe, score_together

HIDDEN, LENGTHS = 3, [4, 1, 6, 2, 5]
OFFSETS = np.cumsum([0, *LENGTHS])
GENERATOR = np.random.default_rng(0)
VALUES = GENERATOR.normal(size=(18, HIDDEN)).astype(np.float32)
IDS = np.array([1, 2, 1, 2, 1, 1, 2, 2, 1, 2, 1, 1, 2, 1, 1, 2, 2, 1], dtype=np.int32)
ROLES = np.array([TEMPLATE, *[USER] * 3, TEMPLATE, TEMPLATE, *[USER] * 4, TEMPLATE, *[USER] * 7], dtype=np.int8)


def store(values=VALUES):
    return ArrayActivations(values, OFFSETS, [f"r{n}" for n in range(5)], ROLES, {}, IDS)


def made(family, **settings):
    config = FAMILIES[family].config(**settings)
    weights = {"projection": np.random.default_rng(1).normal(size=(HIDDEN, 1)), "bias": np.array([0.25])}
    weights |= {"sentence_end_ids": np.array([2])} if FAMILIES[family].by_sentence else {}
    return Probe(config, weights | (marker_of_texts("b", ["_", "a", "b"]).weights if config.after else {}))


def logits_of_tokens(probe):
    return VALUES.astype(np.float64) @ probe.weights["projection"][:, 0] + 0.25


def seen(number, probe):
    """Places of a record's tokens that a probe sees."""
    places = np.arange(*OFFSETS[number : number + 2])
    if probe.config.after:
        places = places[places > places[IDS[places] == 2].max(initial=places[0] - 1)]
    if not probe.config.first_token and len(places) > 1 and ROLES[places[0]] == TEMPLATE and places[0] in OFFSETS:
        places = places[1:]
    return places[-probe.config.last :] if probe.config.last else places


@pytest.fixture(autouse=True, params=[1, 6 * HIDDEN, 1 << 22])
def _blocks(request, monkeypatch):
    """Blocks of one record, of a few, and of all; products of two tokens and of all."""
    monkeypatch.setattr(tokens, "BLOCK_VALUES", request.param)
    monkeypatch.setattr(scoring, "_CACHED_TOKENS", 2 if request.param > 1 else 256)


PARTS = [{}, {"first_token": False}, {"last": 2}, {"first_token": False, "last": 3}]


def test_every_probe_of_one_reading_sees_its_own_part_of_each_record():
    probes = [made("mean", **part) for part in PARTS]
    found = score_together(probes, store())
    for probe, logits in zip(probes, found, strict=True):
        own = logits_of_tokens(probe)
        np.testing.assert_allclose(logits, [own[seen(number, probe)].mean() for number in range(5)])
        added = np.zeros(18)
        for number in range(5):
            places = seen(number, probe)
            added[places] = own[places] / len(places)
        np.testing.assert_allclose(probe.contributions(store()), added)


def test_a_probe_that_stands_after_a_marker_is_scored_on_what_follows_it():
    probe = made("mean", after="b")
    with pytest.raises(UserError, match=r"1 records have no token .* after the marker, first 'r0'"):
        probe.decision_function(
            ArrayActivations(VALUES[:6], np.array([0, 4, 6]), ["r0", "r1"], ROLES[:6], {}, np.array([1, 1, 1, 2, 2, 1]))
        )
    ids = np.array([2, 1, 2, 1, 2, 1, 1, 1])
    some = ArrayActivations(VALUES[:8], np.array([0, 4, 8]), ["r0", "r1"], np.full(8, USER), {}, ids)
    own = logits_of_tokens(probe)
    np.testing.assert_allclose(probe.decision_function(some), [own[3], own[5:8].mean()])


def test_sentences_are_those_of_each_record_wherever_a_block_begins():
    probe = made("sentence_mean_max", first_token=False)
    own = logits_of_tokens(probe)
    expected = []
    for number in range(5):
        places = seen(number, probe)
        sentences = np.split(places, np.flatnonzero(IDS[places] == 2) + 1)
        expected.append(max(own[sentence].mean() for sentence in sentences if len(sentence)))
    np.testing.assert_allclose(probe.decision_function(store()), expected)


@pytest.mark.parametrize("family", ["mean", "max", "last", "sentence_mean_max"])
def test_a_token_alone_scores_what_its_projection_is(family):
    probe = made(family)
    np.testing.assert_allclose(probe.score_tokens(store()), logits_of_tokens(probe), rtol=1e-12)


@pytest.mark.parametrize("place", [0, 3, 4, 10, 17])
def test_a_number_that_is_not_finite_is_told_with_its_record_by_every_score(place):
    values = VALUES.copy()
    values[place, 1] = np.nan
    record = int(np.searchsorted(OFFSETS, place, side="right")) - 1
    probe = made("mean")
    for score in (probe.decision_function, probe.score_tokens, probe.contributions):
        with pytest.raises(UserError) as caught:
            score(store(values))
        assert str(caught.value) == (
            f"1 tokens have activations that are NaN or infinite, first in record 'r{record}'. "
            "Remedy: extract them again, in bfloat16 or float32 (float16 overflows)."
        )


def test_numbers_that_are_not_finite_are_counted_in_the_block_that_is_read():
    values = VALUES.copy()
    values[[4, 12], 1] = np.inf
    count = 2 if tokens.BLOCK_VALUES > 99 else 1
    with pytest.raises(UserError, match=rf"^{count} tokens have .* first in record 'r1'"):
        made("mean").decision_function(store(values))


def test_on_a_cpu_a_few_tokens_are_multiplied_at_once(monkeypatch):
    sizes, project = set(), scoring.project
    monkeypatch.setattr(scoring, "project", lambda modules, some: sizes.add(len(some)) or project(modules, some))
    made("mean").decision_function(store())
    assert max(sizes) <= scoring._CACHED_TOKENS
