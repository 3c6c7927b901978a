"""Overlap of conversations, turn by turn, and under disguises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Record
from models_under_pressure.datasets.matching import Text, near_duplicates
from models_under_pressure.datasets.overlap import OverlapConfig, Part, find_overlaps, overlaps_between

CONFIG = OverlapConfig(jaccard=0.8, shingle_words=3, containment_words=4)
AS_SHIPPED = OverlapConfig(jaccard=0.8, shingle_words=3, containment_words=8)
ASKED = (
    "My father was sent home from the hospital yesterday with two new prescriptions and the pharmacist says that they "
    "must not be taken together, so should I wait for his doctor or stop one now?"
)
LONG_REPLY = (
    "Please call the ward that sent him home and read both names to the nurse on duty. Until somebody who knows his "
    "history has answered, give neither of the two, and note the hour at which he took the last one of each."
)
words = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9).map(" ".join)


def record(id_, text="Hello.", **fields):
    return Record(id_, text, fields=fields)


def found(dev, test, config=CONFIG):
    return {(o.kind, o.left_id, o.right_id) for o in find_overlaps({"dev": dev, "test": test}, config)}


def chat(id_, *turns, **fields):
    return Record(id_, tuple(Message(role, text) for role, text in turns), fields=fields)


def kinds(left, right):
    return {kind for kind, *_ in found([left], [right], AS_SHIPPED)}


def test_a_disguised_copy_is_the_same_text_inside_another_and_with_a_word_changed():
    hidden = "".join(f"{letter}\u200b" for letter in ASKED.translate(str.maketrans("aeo", "\u0430\u0435\u043e")))
    assert kinds(record("a", ASKED), record("b", hidden)) == {"text"}
    assert kinds(record("a", ASKED), record("b", f"Hello, {hidden} Thank you.")) == {"contains"}
    assert kinds(record("a", ASKED), record("b", hidden.replace("d\u200bo\u200b", "n\u0443"))) <= {"near", "text"}
    assert kinds(record("a", ASKED), record("b", hidden.replace("hospit", "clin"))) == {"text"}


def test_a_first_turn_under_another_reply_is_found_without_a_group():
    left = chat("a", ("user", ASKED), ("assistant", "Stop one of them."))
    right = chat("b", ("user", ASKED.upper()), ("assistant", "I would rather wait until the doctor is back."))
    assert kinds(left, right) == {"turn"}
    assert kinds(left, chat("b", ("user", ASKED.replace("father", "mother")), ("assistant", "Wait, please."))) == {
        "turn"
    }
    assert kinds(left, record("b", f"Somebody asks: {ASKED} What would you say?")) == {"turn"}
    assert kinds(left, record("b", ASKED)) == {"contains"}


def test_a_later_turn_and_a_long_reply_of_a_model_are_found_too():
    opened = (("user", "Good morning."), ("assistant", "Good morning, how can I help?"))
    left = chat("a", *opened, ("user", ASKED), ("assistant", "Stop one."))
    assert kinds(left, chat("b", ("user", "A question."), ("assistant", "Yes?"), ("user", ASKED))) == {"turn"}
    replied = [("user", " ".join(f"{word}{n}" for n in range(30))) for word in ("left", "right")]
    assert kinds(*(chat("ab"[n], replied[n], ("assistant", LONG_REPLY)) for n in (0, 1))) == {"turn"}


def test_what_conversations_have_in_common_by_their_nature_is_no_overlap():
    system = (
        "system",
        "You are a careful assistant of a hospital. Never name a dose, and always send people to a doctor.",
    )
    refusal = ("assistant", "I am sorry, but I cannot help with that request, please ask somebody who can.")
    left = chat("a", system, ("user", "Hello, I have a question."), refusal, ("user", "Thank you for it."))
    right = chat("b", system, ("user", "Hello, I have a question."), refusal, ("user", "No thank you."))
    assert kinds(left, right) == set()
    developer = ("developer", system[1])
    assert kinds(chat("a", developer, ("user", "one")), chat("b", developer, ("user", "two"))) == set()


def test_a_turn_that_very_many_rows_have_is_a_phrase_and_is_said(capsys):
    asked = ("user", "Please read the conversation below and say in one word how it ends:")
    dev = [chat(f"d{n}", asked, ("user", f"dev {n}")) for n in range(21)]
    test = [chat("t", asked, ("user", "test"))]
    assert found(dev, test, AS_SHIPPED) == set()
    assert "1 turns that more than 20 rows of a side have count as phrases" in capsys.readouterr().err
    assert len(found(dev[:20], test, AS_SHIPPED)) == 20
    inside = [record(f"d{n}", f"{n}. {asked[1]} dev {n}") for n in range(21)]
    assert found(inside, test, AS_SHIPPED) == set()


def test_the_same_conversation_under_another_text_of_the_source_is_found():
    assert kinds(record("a", ASKED, transcription="One note."), record("b", ASKED, transcription="Another.")) == {
        "text"
    }
    assert kinds(record("a", ASKED, dialogue="One note."), record("b", ASKED)) == {"text"}
    assert kinds(record("a", "One.", transcription=ASKED), record("b", "Two.", dialogue=ASKED)) == {"text"}


def test_a_conversation_of_system_turns_only_is_compared_by_them():
    assert kinds(chat("a", ("system", ASKED)), chat("b", ("system", ASKED.upper()))) == {"text"}


@pytest.mark.parametrize("column", ["group", "pair_id", "situation_id"])
@pytest.mark.parametrize(
    ("one", "other"), [("Knee", " knee "), (0, 0), (0, "0"), (7, 7.0), ("ward\uff11", "WARD1"), (False, "false")]
)
def test_every_column_of_groups_counts_in_any_spelling(column, one, other):
    parts = [
        Part("train", "train", [record("a", "left", **{column: one})], dataset="training"),
        Part("validation", "validation", [record("b", "right", **{column: other})], dataset="training"),
    ]
    assert {overlap.kind for overlap in overlaps_between(parts, CONFIG)} == {"group"}


def test_a_situation_counts_beside_a_group_and_a_pair_of_their_own():
    left = record("a", "left", group="g", pair_id="p", situation_id="s")
    assert kinds(left, record("b", "right", group="h", pair_id="q", situation_id="S")) == {"group"}
    assert kinds(left, record("b", "right", group="h", pair_id="P", situation_id="t")) == {"group"}
    assert kinds(left, record("b", "right", group="p", pair_id="q", situation_id="t")) == {"group"}, "made from pair p"
    assert kinds(left, record("b", "right", group="s", pair_id="s", situation_id="p")) == set()


@pytest.mark.parametrize("nothing", [None, "", " ", float("nan")])
def test_rows_without_a_group_share_none(nothing):
    assert kinds(record("a", "left", group=nothing), record("b", "right", group=nothing)) == set()
    assert kinds(record("a", "left", situation_id=nothing), record("b", "right", situation_id=nothing)) == set()


@given(st.lists(words, max_size=5), st.lists(words, max_size=5), st.integers(1, 5))
def test_a_turn_of_enough_words_is_found_wherever_it_stands_and_no_shorter_one(left, right, least):
    config = OverlapConfig(jaccard=1.0, shingle_words=50, containment_words=least)
    dev = [chat(f"d{n}", ("user", text), ("user", f"left{n}")) for n, text in enumerate(left)]
    test = [record(f"t{n}", f"right{n} {text} so") for n, text in enumerate(right)]
    expected = {
        (f"d{n}", f"t{m}")
        for n, one in enumerate(left)
        for m, other in enumerate(right)
        if len(one.split()) >= least and f" {one} " in f" right{m} {other} so "
    }
    assert {(a, b) for kind, a, b in found(dev, test, config) if kind == "turn"} == expected


OUT_OF_REACH = {
    "translation": "Mein Vater kam gestern mit zwei neuen Rezepten aus dem Krankenhaus, und die Apotheke sagt, beides "
    "zusammen dürfe er nicht nehmen; soll ich auf den Arzt warten oder eines absetzen?",
    "paraphrase": "Dad got discharged last night. Two fresh drugs, which our chemist warns against mixing. Do I pause "
    "either, or hold on till his physician is reachable?",
    "leetspeak": ASKED.translate(str.maketrans("aeiost", "43105+")),
    "stops inside words": ".".join(ASKED),
    "white space inside words": " ".join(ASKED),
    "seven words of it inside another text": f"He was told {' '.join(ASKED.split()[:7])} and so on.",
}


@pytest.mark.parametrize("disguise", OUT_OF_REACH)
def test_what_the_table_of_the_manual_calls_out_of_reach_is_not_found(disguise):
    assert kinds(record("a", ASKED), record("b", OUT_OF_REACH[disguise])) == set()
    seven = record("a", " ".join(ASKED.split()[:7]))
    assert kinds(seven, record("b", OUT_OF_REACH["seven words of it inside another text"])) == set()


def test_names_of_speakers_and_a_system_turn_hide_no_copy():
    left = chat("a", ("user", ASKED), ("assistant", LONG_REPLY))
    named = tuple(Message(message.role, message.content, name=f"n{n}") for n, message in enumerate(left.messages))
    assert kinds(left, Record("b", named)) & {"near", "turn"}
    assert kinds(left, chat("b", ("system", "Be brief."), *((turn.role, turn.content) for turn in left.messages))) == {
        "text"
    }


def test_texts_at_the_least_similarity_are_near_also_after_one_of_no_words():
    words = [f"w{n}" for n in range(19)]
    one = [Text(0, "dev", ""), Text(1, "dev", " ".join(words))]
    pairs = [([*words[:18], "x"], [(1, 2)]), ([*words[:17], "x", "y"], [])]  # 18 of 20 words, and 17 of 21
    for other, near in pairs:
        texts = [*one, Text(2, "test", " ".join(other)), Text(3, "train", "")]
        found = near_duplicates(texts, jaccard=0.9, shingle_words=1)
        assert [tuple(sorted((left.row, right.row))) for left, right in found] == near


def test_a_pair_that_shares_its_id_and_its_text_is_told_by_both():
    assert found([record("1", "one and the same")], [record("1", "one and the same")]) == {
        ("id", "1", "1"),
        ("text", "1", "1"),
    }


def test_every_turn_that_stands_in_another_text_counts_not_only_the_last_one():
    said = ["may I take both pills today", "and when is the operation then"]
    left = [chat(f"a{n}", ("user", turn), ("user", f"left {n}")) for n, turn in enumerate(said)]
    right = [record(f"b{n}", f"He asks: {turn} or not?") for n, turn in enumerate(said)]
    assert found(left, right) == {("turn", "a0", "b0"), ("turn", "a1", "b1")}


def test_a_turn_is_what_was_said_without_the_name_of_who_said_it():
    named = Record("a", (Message("user", ASKED, name="Ann"), Message("user", "left", name="Ann")))
    assert kinds(named, record("b", f"Somebody asks: {ASKED} {LONG_REPLY}")) == {"turn"}


def test_only_the_opening_turn_of_a_person_is_held_near_others():
    near = ASKED.replace("father", "mother")
    later = chat("a", ("user", "Good morning to you."), ("user", LONG_REPLY), ("user", ASKED))
    assert kinds(later, record("b", near)) == set()
    replied = chat("a", ("assistant", LONG_REPLY), ("user", ASKED))
    assert kinds(replied, record("b", near)) == {"turn"}, "what a model says first opens nothing"


def test_rows_that_say_nothing_are_no_copies_of_each_other():
    assert found([record("a", "?!")], [record("b", "…")]) == set()


@pytest.mark.parametrize(("role", "least"), [("user", 4), ("assistant", 16)])
def test_a_turn_counts_from_its_least_number_of_words(role, least):
    for count, kind in ((least, {("turn", "a", "b")}), (least - 1, set())):
        turn = " ".join(f"w{n}" for n in range(count))
        left = chat("a", (role, turn), ("user", "left"))
        assert found([left], [record("b", f"{LONG_REPLY} {turn} so")]) == kind
