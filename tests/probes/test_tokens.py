"""Which tokens a probe sees, how they are read, and how a text is found in them; a tokenizer of single letters."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.activations import model
from models_under_pressure.activations.ragged import ASSISTANT, SYSTEM, TEMPLATE, THINKING, TOOL, USER, ArrayActivations
from models_under_pressure.core.errors import UserError
from models_under_pressure.probes import tokens
from models_under_pressure.probes.markers import checked_marker, marker_of_model, marker_of_texts, marker_of_weights
from models_under_pressure.probes.tokens import (
    BLOCK_VALUES,
    ROLES,
    SAMPLE,
    ends_of_model,
    read_block,
    read_blocks,
    record_blocks,
    seen_roles,
    select,
    survey,
)

EVERY = ("system", "user", "assistant", "template", "tool", "thinking")


def some(lengths, roles=None, token_ids=None, hidden=2, **attributes):
    total = sum(lengths)
    values = np.arange(total * hidden, dtype=np.float32).reshape(total, hidden)
    roles = np.full(total, USER) if roles is None else np.array(roles)
    ids = None if token_ids is None else np.array(token_ids)
    return ArrayActivations(
        values, np.cumsum([0, *lengths]), [f"r{n}" for n in range(len(lengths))], roles, attributes, ids
    )


def test_every_role_has_its_code():
    assert dict(zip(EVERY, (SYSTEM, USER, ASSISTANT, TEMPLATE, TOOL, THINKING), strict=True)) == ROLES


SAID = ("system", "user", "assistant")


@pytest.mark.parametrize(
    ("named", "seen"),
    [
        (SAID, (*SAID, "tool", "thinking")),
        (("template", *SAID), ("template", *SAID, "tool", "thinking")),
        ((*SAID, "tool"), (*SAID, "tool")),
        ((*SAID, "thinking"), (*SAID, "thinking")),
        (("system", "user"), ("system", "user")),
        (("user", "assistant", "template"), ("user", "assistant", "template")),
    ],
)
def test_all_that_is_said_is_calls_and_thoughts_too_unless_one_of_them_is_named(named, seen):
    assert seen_roles(named) == seen
    roles = [SYSTEM, USER, ASSISTANT, TEMPLATE, TOOL, THINKING]
    found = select(some([6], roles), named, first_token=True)
    assert found.chosen.tolist() == [name in seen for name in EVERY]
    assert (found.records, found.offsets.tolist()) == (1, [0, len(seen)])


def test_the_first_token_goes_where_it_is_of_the_template_and_another_is_left():
    told = [TEMPLATE, USER, USER, USER, TEMPLATE, USER, TEMPLATE, TEMPLATE, ASSISTANT, TEMPLATE, USER]
    data, roles = some([3, 3, 1, 2, 2], told), ("user", "template")
    assert np.flatnonzero(~select(data, roles).chosen).tolist() == [0, 8, 9]
    assert np.flatnonzero(~select(data, roles, first_token=True).chosen).tolist() == [8]


def test_ends_of_sentences_are_those_of_the_chosen_tokens():
    data = some([3, 2], [USER, TEMPLATE, USER, USER, USER], [5, 6, 7, 6, 5])
    found = select(data, ("user",), np.array([6, 7]), first_token=True)
    assert found.sentence_ends.tolist() == [False, True, True, False]
    assert found.end_ids.tolist() == [6, 7]
    plain = select(data, ("user",))
    assert (plain.sentence_ends, plain.end_ids, plain.marker) == (None, None, None)
    marker = marker_of_texts("a", ["a", "b"])
    for ends in (None, np.array([1])):
        kept = select(some([3], token_ids=[0, 1, 1]), ("user",), ends, marker=marker)
        assert kept.marker is marker
        assert kept.chosen.tolist() == [False, True, True]


def test_what_cannot_be_chosen_is_refused_with_the_way_out():
    def refused(*arguments, **more):
        with pytest.raises(UserError) as caught:
            select(*arguments, **more)
        return str(caught.value)

    assert refused(some([]), ("user",)) == (
        "there are no records. Remedy: check the dataset that the activations come from."
    )
    assert refused(some([1, 1, 1], [USER, TOOL, TOOL]), ("user", "system")) == (
        "2 records have no token with the role user or system, first 'r1'. "
        "Remedy: drop these records, or let the probe see more roles (`tokens` in its config)."
    )
    marker = marker_of_texts("a", ["a", "b"])
    assert refused(some([2], token_ids=[1, 0]), ("user",), marker=marker).startswith(
        "1 records have no token with the role user after the marker, first 'r0'."
    )
    for part in ({"marker": marker}, {"last": 1}):
        assert refused(some([2], keep="mean"), ("user",), **part) == (
            "the activations are one vector per conversation, which has no part. "
            "Remedy: leave `after` and `last` out, or keep all tokens."
        )
    for ends in ({"marker": marker}, {"end_ids": np.array([1])}):
        assert refused(some([2]), ("user",), **ends) == (
            "the activations come without token ids, so that neither sentences nor a marker are found. "
            "Remedy: read them from a store."
        )
    assert select(some([2], keep="tokens"), ("user",), last=1).chosen.tolist() == [False, True]
    assert select(some([2], keep="mean"), ("user",)).chosen.all()


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 4), st.integers(1, 12))
def test_blocks_are_consecutive_as_long_as_they_may_be_and_hold_one_record_at_least(lengths, hidden, limit):
    offsets, before = np.cumsum([0, *lengths]), tokens.BLOCK_VALUES
    tokens.BLOCK_VALUES = limit * hidden
    try:
        runs = record_blocks(offsets, hidden)
    finally:
        tokens.BLOCK_VALUES = before
    assert [number for run in runs for number in range(*run)] == list(range(len(lengths)))
    for first, stop in runs:
        assert stop - first == 1 or offsets[stop] - offsets[first] <= limit
        assert stop == len(lengths) or offsets[stop + 1] - offsets[first] > limit


def test_a_block_is_about_sixteen_mebibytes_whatever_the_width():
    assert BLOCK_VALUES * 4 == 16 * 2**20
    wide = 2 * BLOCK_VALUES
    assert record_blocks(np.array([0, 1, 2]), wide) == [(0, 1), (1, 2)]


def test_a_block_holds_the_chosen_tokens_of_its_records():
    selection = select(some([2, 3, 1], [USER, TOOL, TOOL, USER, USER, USER]), ("user",))
    block = read_block(selection, 1, 3)
    assert (block.first, block.offsets.tolist()) == (1, [0, 2, 3])
    assert block.values[:, 0].tolist() == [6, 8, 10]
    (whole,) = read_blocks(select(some([2, 1]), ("user",)))
    assert (whole.first, whole.offsets.tolist(), whole.values[:, 1].tolist()) == (0, [0, 2, 3], [1, 3, 5])


@pytest.mark.parametrize(("bad", "first"), [([0], "r0"), ([2, 4], "r1"), ([5], "r2")])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_numbers_that_are_not_finite_are_counted_by_token_and_the_first_record_is_named(bad, first, value):
    data = some([2, 3, 1])
    data.values[bad, 1] = value
    with pytest.raises(
        UserError, match=f"^{len(bad)} tokens have activations that are NaN or infinite, first in .*{first}'"
    ):
        survey(select(data, ("user",)))


def test_finite_numbers_whose_sum_is_not_are_read():
    data = some([3])
    data.values[:, 0] = 3e38
    with np.errstate(over="ignore"):
        assert survey(select(data, ("user",))).means[0, 0] == pytest.approx(3e38)


@pytest.mark.parametrize("block", [1, 12, 1 << 22])
def test_a_survey_is_of_the_chosen_tokens_and_samples_them_evenly(block, monkeypatch):
    monkeypatch.setattr(tokens, "BLOCK_VALUES", block)
    monkeypatch.setattr(tokens, "SAMPLE", 4)
    data = some([3, 2, 5, 1], [TOOL, *[USER] * 8, TOOL, USER])
    found = survey(select(data, ("user",)))
    chosen = [[2, 4], [6, 8], [10, 12, 14, 16], [20]]
    assert found.means[:, 0].tolist() == [3, 7, 13, 20]
    assert found.lasts[:, 0].tolist() == [4, 8, 16, 20]
    assert (found.means.dtype, found.lasts.dtype) == (np.float64, np.float32)
    every = [value for record in chosen for value in record]
    assert found.sample[:, 0].tolist() == [every[place] for place in (0, 2, 5, 8)]
    assert SAMPLE == 1024


ORIGIN = {"model": "toy"}


class Letters:
    """Every piece is a letter or two; `~` is half of a character, which no text shows."""

    pieces = ("a", "b", ":", "b.", "?!", '."', ".) ", ". x", "。", "~")

    def __len__(self):
        return len(self.pieces)

    def __call__(self, text, add_special_tokens):
        assert add_special_tokens is False
        return {"input_ids": [self.pieces.index(letter) for letter in text]}

    def decode(self, ids, **settings):
        assert settings == {"clean_up_tokenization_spaces": False, "skip_special_tokens": False}
        return "".join(self.pieces[number].replace("~", "\ufffd") for number in ids)

    def batch_decode(self, rows, **settings):
        assert settings or all(len(row) == 1 for row in rows), "after another token its space is to be kept"
        settings = settings or {"clean_up_tokenization_spaces": False, "skip_special_tokens": False}
        return [self.decode(row, **settings) for row in rows]


@pytest.fixture
def _letters(monkeypatch):
    def describe(config):
        assert config == model.model_of(ORIGIN)
        return SimpleNamespace(tokenizer=Letters())

    monkeypatch.setattr(model, "describe_model", describe)


@pytest.mark.usefixtures("_letters")
def test_a_sentence_is_closed_by_a_token_that_ends_in_a_stop_closing_quotes_aside():
    found = ends_of_model(ORIGIN)
    assert [Letters.pieces[number] for number in found] == ["b.", "?!", '."', ".) ", "。"]
    assert found.dtype == np.int64


@pytest.mark.usefixtures("_letters")
def test_the_marker_of_a_model_is_that_of_the_texts_of_its_tokens():
    found = marker_of_model("ab:", ORIGIN)
    own = marker_of_texts("ab:", list(Letters.pieces))
    assert (found.ids.tolist(), found.moves.tolist()) == (own.ids.tolist(), own.moves.tolist())
    for text in ("a~", "~"):
        with pytest.raises(UserError) as caught:
            marker_of_model(text, ORIGIN)
        assert str(caught.value) == (
            f"the tokenizer cuts {text!r} within a character, or changes it. "
            "Remedy: choose another text for `after`, of plain characters."
        )


def test_a_search_moves_by_what_each_token_adds():
    marker = marker_of_texts("aab", ["a", "b", "ab", "c", "", "xaa", "aabaa"])
    assert marker.ids.tolist() == [0, 1, 2, 4, 5, 6]
    assert marker.moves.tolist() == [
        [1, 2, 2],  # a
        [0, 0, -1],  # b
        [0, -1, -1],  # ab
        [0, 1, 2],  # nothing
        [2, 2, 2],  # xaa
        [-3, -3, -3],  # aabaa ends the text and begins it again
    ]
    assert marker.step(0, 2) == (2, False)
    assert marker.step(1, 2) == (0, True)
    assert marker.step(1, 0) == (0, False)
    assert marker.step(6, 0) == (2, True)
    assert marker.step(3, 2) == marker.step(99, 2) == marker.step(-1, 2) == (0, False)


def test_a_token_that_ends_in_the_beginning_of_the_text_is_one_of_the_search():
    marker = marker_of_texts("abc", ["xa", "xab", "x", "bcx", "cx"])
    assert marker.ids.tolist() == [0, 1, 3, 4]
    assert marker.moves.tolist() == [[1, 1, 1], [2, 2, 2], [0, -1, 0], [0, 0, -1]]


def test_what_follows_is_counted_from_the_last_end_in_each_record():
    marker = marker_of_texts("ab", ["a", "b", "c"])
    ids = np.array([0, 1, 2, 0, 1, 2, 2, 0, 1, 2, 0, 2, 1, 2])
    follows = marker.follows(ids, np.array([0, 7, 8, 10, 14]))
    # `a` at the end of a record and `b` at the start of the next are no marker, nor are they around a `c`
    assert follows.tolist() == [False] * 5 + [True, True] + [False] * 7


def test_the_arrays_of_a_marker_are_read_back_and_checked():
    marker = marker_of_texts("ab", ["a", "b"])
    assert set(marker.weights) == {"marker_ids", "marker_moves"}
    back = marker_of_weights(marker.weights)
    assert (back.ids is marker.ids, back.moves is marker.moves) == (True, True)
    assert marker_of_weights({}) is None
    ids, moves = np.array([3, 5]), np.array([[1, 0], [-1, -2]])

    def told(ids, moves):
        with pytest.raises(ValueError, match="marker") as caught:
            checked_marker({"marker_ids": ids, "marker_moves": moves}, "ab")
        return str(caught.value)

    checked_marker({"marker_ids": ids, "marker_moves": moves}, "ab")
    for wrong in ((ids * 1.0, moves), (ids, moves * 1.0), (ids[:, None], moves), (ids, moves[:, :1]), (ids[:1], moves)):
        assert told(*wrong) == "marker_ids and marker_moves are no search for a text of 2 characters"
    for wrong in ((np.array([3, 3]), moves), (ids[::-1], moves), (ids, moves + 1), (ids, moves - 1)):
        assert told(*wrong) == "marker_ids do not ascend, or marker_moves are out of range"


def test_what_follows_a_marker_and_what_comes_last_is_of_the_roles_that_are_seen():
    data = some([6], [USER, USER, TOOL, USER, TOOL, USER], [0, 1, 1, 1, 1, 1])
    marker = marker_of_texts("a", ["a", "b"])
    assert np.flatnonzero(select(data, ("user",), marker=marker).chosen).tolist() == [1, 3, 5]
    assert np.flatnonzero(select(data, ("user",), last=2).chosen).tolist() == [3, 5]
    assert select(data, ("user",), np.array([1]), last=2).activations is data
