"""Changes of conversations: the conversation stays whole, and draws depend on the seed and the id alone."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.records import Label, Record
from models_under_pressure.datasets.wrapping import (
    Change,
    Material,
    change_record,
    read_paraphrases,
    shipped_benign,
)

BENIGN = shipped_benign()
TEXT = "My father has a strong pain in his chest and his left arm is numb."
PLAIN = Record("plain", TEXT, Label.HIGH, fields={"pair_id": "p"})
CHAT = Record(
    "chat",
    (
        Message("system", "Be brief."),
        Message("user", TEXT),
        Message("assistant", "Since when?"),
        Message("user", "An hour."),
    ),
    Label.HIGH,
    tools=({"name": "f"},),
)
PADDED = [Change(kind, amount) for kind in ("before", "after", "around") for amount in (1, 4, 16)]
WRAPPED = [Change(kind) for kind in ("role_play", "jailbreak", "translation")]


def words(text):
    return len(text.split())


def material(most=10_000, seed=0, **more):
    return Material(BENIGN, words, most, seed, **more)


def told(record, change, **settings):
    changed = change_record(record, change, material(**settings), dataset="d")
    assert (changed.record.id, changed.record.label) == (record.id, record.label)
    assert (changed.record.fields, changed.record.tools) == (record.fields, record.tools)
    return changed


@pytest.mark.parametrize("change", [*PADDED, *WRAPPED], ids=lambda change: change.name)
@pytest.mark.parametrize("record", [PLAIN, CHAT], ids=lambda record: record.id)
def test_whatever_stands_around_a_conversation_it_is_all_there(record, change):
    changed = told(record, change).record
    assert len(changed.messages) == len(record.messages)
    for before, after in zip(record.messages, changed.messages, strict=True):
        assert before.content in after.content
        assert before.role == after.role
    assert changed != record
    assert isinstance(changed.input, str) == isinstance(record.input, str)


@pytest.mark.parametrize("change", PADDED, ids=lambda change: change.name)
def test_benign_text_has_about_the_length_asked_for_on_the_side_asked_for(change):
    changed = told(PLAIN, change)
    before, _, after = changed.record.input.partition(TEXT)
    asked = change.amount * words(TEXT)
    assert not changed.is_cut
    assert words(before) + words(after) == pytest.approx(asked, abs=20)
    assert bool(before) == (change.kind != "after")
    assert bool(after) == (change.kind != "before")


def test_more_benign_text_begins_with_the_smaller_amount():
    texts = [told(PLAIN, Change("after", amount)).record.input for amount in (1, 4, 16)]
    for shorter, longer in pairwise(texts):
        assert longer.startswith(shorter)


@given(most=st.integers(80, 400), amount=st.integers(1, 30))
def test_benign_text_is_cut_to_fit_and_that_is_said(most, amount):
    changed = told(PLAIN, Change("before", amount), most=most)
    assert words(changed.record.input) <= most
    assert changed.is_cut == (amount * words(TEXT) > most - words(TEXT) - 64)
    assert TEXT in changed.record.input


def test_exchanges_stand_between_the_system_turn_and_the_conversation():
    changed = told(CHAT, Change("turns", 3))
    roles = [message.role for message in changed.record.messages]
    assert roles == ["system"] + ["user", "assistant"] * 3 + ["user", "assistant", "user"]
    assert changed.record.messages[-3:] == CHAT.messages[1:]
    few = told(CHAT, Change("turns", 500), most=400)
    assert few.is_cut
    assert 5 < len(few.record.messages) < 60
    with pytest.raises(UserError, match="no benign conversation has a reply"):
        change_record(CHAT, Change("turns", 1), replace(material(), benign=[PLAIN]), dataset="d")


def test_draws_depend_on_the_seed_and_the_id_and_on_nothing_else():
    changes = [*PADDED, *WRAPPED, Change("turns", 2), Change("typing")]
    first = [told(PLAIN, change).record for change in changes]
    assert first == [told(PLAIN, change).record for change in changes]
    assert first != [told(PLAIN, change, seed=1).record for change in changes]
    others = [told(replace(PLAIN, id=f"r{number}"), Change("role_play")).record.input for number in range(20)]
    assert len(set(others)) == 3


def test_typing_noise_touches_few_letters_of_user_turns_only():
    long = replace(CHAT, input=(Message("user", TEXT * 40), Message("assistant", TEXT * 40)))
    user, assistant = told(long, Change("typing")).record.messages
    assert assistant.content == TEXT * 40
    assert 0.9 < len(user.content) / len(TEXT * 40) < 1.1
    kept = sum(word in TEXT.split() for word in user.content.replace(".My", ". My").split())
    assert 0.5 < kept / words(TEXT * 40) < 0.95


def test_case_changes_nothing_but_case():
    assert told(CHAT, Change("lower_case")).record.messages[1].content == TEXT.lower()
    assert told(CHAT, Change("upper_case")).record.messages[1].content == TEXT.upper()
    assert told(CHAT, Change("upper_case")).record.messages[2] == CHAT.messages[2]


def test_a_paraphrase_takes_the_place_of_its_own_conversation(tmp_path):
    path = tmp_path / "paraphrases.jsonl"
    write_jsonl(path, [{"ids": "plain", "dataset": "d", "inputs": "Dad's chest hurts."}])
    found = read_paraphrases(path)
    assert told(PLAIN, Change("paraphrase"), paraphrases=found).record.input == "Dad's chest hurts."
    assert change_record(CHAT, Change("paraphrase"), material(paraphrases=found), dataset="d") is None
    assert change_record(PLAIN, Change("paraphrase"), material(paraphrases=found), dataset="e") is None
    write_jsonl(path, [{"ids": "plain", "inputs": "Dad's chest hurts."}])
    with pytest.raises(UserError, match=r"paraphrases\.jsonl:1: the row does not say of what"):
        read_paraphrases(path)


def test_the_shipped_conversations_are_exchanges_and_all_differ():
    assert len(BENIGN) >= 30
    assert all([message.role for message in record.messages] == ["user", "assistant"] for record in BENIGN)
    assert len({record.text for record in BENIGN}) == len(BENIGN)
    assert {record.label for record in BENIGN} == {Label.LOW}
