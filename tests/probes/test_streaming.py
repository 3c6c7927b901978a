"""A score that runs along while a conversation is written is the score that the finished part has."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.activations.ragged import ASSISTANT, SYSTEM, TEMPLATE, THINKING, TOOL, USER, ArrayActivations
from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.streaming import RunningScore
from models_under_pressure.probes.tokens import SENTENCE_END_IDS

HIDDEN = 6


def made(family, seed, **settings):
    """A probe with random weights, whose sentences end at the token ids 0 and 3."""
    config = FAMILIES[family].config(**settings)
    columns, generator = FAMILIES[family].columns(config), np.random.default_rng(seed)
    shapes = {"projection": (HIDDEN, columns), "bias": (columns,), **FAMILIES[family].more(config)}
    weights = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    return Probe(config, weights | {SENTENCE_END_IDS: np.array([0, 3])})


def conversation(tokens, seed, roles):
    generator = np.random.default_rng(seed)
    return ArrayActivations(
        values=generator.normal(size=(tokens, HIDDEN), scale=5).astype(np.float32),
        offsets=np.array([0, tokens]),
        ids=["a"],
        roles=generator.choice(np.array(roles, dtype=np.int8), tokens),
        token_ids=generator.integers(0, 9, tokens).astype(np.int32),
    )


def prefix(activations, length):
    return ArrayActivations(
        activations.values[:length],
        np.array([0, length]),
        activations.ids,
        activations.roles[:length],
        token_ids=activations.token_ids[:length],
    )


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_after_each_token_it_is_the_score_of_the_conversation_up_to_there_however_it_is_cut(family, data):
    probe = made(
        family,
        data.draw(st.integers(0, 99)),
        tokens=data.draw(
            st.sampled_from(
                [("user",), ("assistant", "template"), ("system", "user", "assistant"), ("tool", "thinking", "user")]
            )
        ),
        first_token=data.draw(st.booleans()),
        **({"window": 4} if "window" in FAMILIES[family].config.model_fields else {}),
    )
    length = data.draw(st.integers(1, 30))
    whole = conversation(length, data.draw(st.integers(0, 99)), [USER, TEMPLATE, ASSISTANT, SYSTEM, TOOL, THINKING])
    cuts = sorted(data.draw(st.sets(st.integers(1, length))) | {0, length})
    running, found = RunningScore(probe), []
    for start, stop in itertools.pairwise(cuts):
        found += running.update(whole.values[start:stop], whole.roles[start:stop], whole.token_ids[start:stop])
    for count, logit in enumerate(found, start=1):
        try:
            (expected,) = probe.decision_function(prefix(whole, count))
        except UserError:  # no token of these roles yet
            assert logit is None
        else:
            assert logit == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert running.logit == found[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_grows_from_the_hundredth_token_to_the_ten_thousandth(family):
    probe, long = made(family, 0), conversation(10_000, 0, [USER])
    running, sizes = RunningScore(probe), []
    for start, stop in [(0, 100), (100, 10_000)]:
        running.update(long.values[start:stop], long.roles[start:stop], long.token_ids[start:stop])
        sizes.append(len(pickle.dumps(running._stream.__dict__)))
    assert sizes[1] <= sizes[0] + 16


@pytest.mark.parametrize("family", ["softmax", "attention", "multi_head_attention"])
def test_scores_of_a_thousand_do_not_overflow(family):
    running = RunningScore(made(family, 0))
    values = np.full((3, HIDDEN), 1e4) * [[1], [-1], [2]]
    assert np.isfinite(running.update(values, [USER] * 3, np.zeros(3))).all()


def test_a_probability_is_the_probes_own():
    running = RunningScore(made("mean", 0))
    assert running.probability is None
    running.update(np.ones((1, HIDDEN)), [USER], np.zeros(1))
    assert running.probability == pytest.approx(1 / (1 + np.exp(-running.logit)))


@pytest.mark.parametrize(("values", "message"), [(np.ones((1, 5)), "wide"), (np.full((1, HIDDEN), np.nan), "NaN")])
def test_activations_that_cannot_be_scored_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        RunningScore(made("mean", 0)).update(values, [USER], np.zeros(1))
