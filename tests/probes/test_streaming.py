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
from models_under_pressure.probes.markers import marker_of_texts
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


@pytest.mark.parametrize("part", [{}, {"first_token": False}, {"last": 2}, {"first_token": False, "last": 1}])
@pytest.mark.parametrize("tokens", [("user",), ("user", "template"), ("system", "user", "assistant")])
@pytest.mark.parametrize("family", ["max", "sentence_mean_max"])
def test_a_part_of_the_roles_is_scored_as_far_as_it_goes(family, tokens, part):
    probe, running = made(family, 1, tokens=tokens, **part), RunningScore(made(family, 1, tokens=tokens, **part))
    whole = conversation(9, 4, [USER, TEMPLATE, ASSISTANT])
    whole.roles[0] = TEMPLATE
    for count in range(1, 10):
        (found,) = running.update(*(part[count - 1 : count] for part in (whole.values, whole.roles, whole.token_ids)))
        assert found == running.logit
        own = prefix(whole, count)
        if running.logit is None:
            with pytest.raises(UserError, match="no token with the role"):
                probe.decision_function(own)
        else:
            assert running.logit == pytest.approx(probe.decision_function(own)[0], rel=1e-12)
        seen = probe.contributions(own)[-1] != 0 if running.logit is not None else False
        if seen and "last" not in part:
            assert running.latest is not None
        if running.latest is not None:
            assert running.latest == pytest.approx(probe.score_tokens(own)[-1], rel=1e-12)
    assert running.probability == pytest.approx(1 / (1 + np.exp(-running.logit)))


def test_a_token_of_a_role_that_is_not_seen_changes_nothing_and_has_no_logit_of_its_own():
    running = RunningScore(made("mean", 0, tokens=("user",)))
    assert (running.logit, running.latest) == (None, None)
    assert running.update(np.ones((1, HIDDEN)), [ASSISTANT], [1]) == [None]
    first, second = running.update(np.ones((2, HIDDEN)), [USER, ASSISTANT], [1, 1])
    assert first == second == running.logit
    assert running.latest is None


def test_the_first_token_counts_while_it_is_the_only_one():
    running = RunningScore(made("mean", 0, tokens=("user", "template"), first_token=False))
    values = np.eye(3, HIDDEN)
    one, two, three = running.update(values, [TEMPLATE, USER, TEMPLATE], [1, 1, 1])
    alone = [value @ running.probe.weights["projection"][:, 0] + running.probe.weights["bias"][0] for value in values]
    assert (one, two) == pytest.approx((alone[0], alone[1]))
    assert three == pytest.approx((alone[1] + alone[2]) / 2), "a later token of the template is one like others"


def test_a_marker_begins_the_score_anew_each_time_that_it_is_met():
    weights = made("mean", 0).weights | marker_of_texts("ab", ["a", "b", "c"]).weights
    running = RunningScore(Probe(FAMILIES["mean"].config(after="ab"), weights))
    values = np.arange(8.0 * HIDDEN).reshape(8, HIDDEN)
    alone = values @ weights["projection"][:, 0] + weights["bias"][0]
    found = running.update(values, [USER] * 8, [0, 1, 2, 0, 0, 1, 2, 2])
    assert found == pytest.approx(
        [None, None, alone[2], alone[2:4].mean(), alone[2:5].mean(), None, alone[6], alone[6:].mean()]
    )
    assert running.latest == pytest.approx(alone[7])
    running.update(values[:1], [USER], [0])
    running.update(values[:1], [USER], [1])
    assert (running.logit, running.latest) == (None, None)


def test_what_cannot_be_read_says_the_widths_and_rows_must_go_together():
    running = RunningScore(made("mean", 0))
    with pytest.raises(ValueError, match=f"^activations are 5 wide, the probe reads {HIDDEN}$"):
        running.update(np.ones((1, 5)), [USER], [1])
    with pytest.raises(ValueError, match="^activations are NaN or infinite$"):
        running.update(np.array([[1.0] * (HIDDEN - 1) + [np.inf]]), [USER], [1])
    for roles, ids in (([USER], [1, 1]), ([USER, USER], [1])):
        with pytest.raises(ValueError, match="zip"):
            running.update(np.ones((2, HIDDEN)), roles, ids)
