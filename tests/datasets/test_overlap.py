import random

from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Record
from models_under_pressure.datasets.files import Splits
from models_under_pressure.datasets.overlap import OverlapConfig, Part, find_overlaps, overlaps_between
from models_under_pressure.datasets.source import normalised
from models_under_pressure.datasets.steps.clinical import FormatTranscription
from models_under_pressure.datasets.steps.rows import DropOverlaps

CONFIG = OverlapConfig(jaccard=0.8, shingle_words=3, containment_words=4)


def record(id_, text="Hello.", **fields):
    return Record(id_, text, fields=fields)


def found(dev, test, config=CONFIG):
    return {(o.kind, o.left_id, o.right_id) for o in find_overlaps({"dev": dev, "test": test}, config)}


def test_overlap_is_found_by_id_by_text_and_by_group_under_any_formatting():
    note = "Knee pain.  No fracture."
    left = [record("1", note, group="g"), record("2", "alone", group="a")]
    framed = (Message("system", "s"), Message("user", f"Specialty: X\n{note}"))
    right = [
        record("1", "other", group="o"),
        Record("3", framed, fields={"transcription": note.upper(), "group": "p"}),
        record("4", "again", group="g"),
    ]
    assert found(left, right) == {("id", "1", "1"), ("text", "1", "3"), ("group", "1", "4")}


def test_rows_of_one_split_may_repeat_each_other():
    assert found([record("1", "same"), record("2", "same")], [record("3", "new")]) == set()


def test_a_text_inside_another_is_found_in_both_directions():
    inner, outer = "may I take both pills today", "Hello, may I take both pills today or not?"
    assert found([record("a", outer)], [record("b", inner)]) == {("contains", "a", "b")}
    assert found([record("a", inner)], [record("b", outer)]) == {("contains", "a", "b")}


def test_a_short_text_is_not_called_contained():
    assert found([record("a", "thank you")], [record("b", "I wanted to say thank you for all of it")]) == set()


def test_near_duplicates_are_found_and_texts_that_share_half_are_not():
    words = [f"w{n}" for n in range(60)]
    changed = [*words[:30], "other", *words[31:]]
    half = words[:30] + [f"v{n}" for n in range(30)]
    dev = [record("a", " ".join(words))]
    assert found(dev, [record("b", " ".join(changed)), record("c", " ".join(half))]) == {("near", "a", "b")}


words = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9).map(" ".join)


@given(st.lists(words, max_size=6), st.lists(words, max_size=6))
def test_containment_agrees_with_the_pairwise_scan(left, right):
    dev = [record(f"d{n}", text) for n, text in enumerate(left)]
    test = [record(f"t{n}", text) for n, text in enumerate(right)]

    def within(a, b):
        return a != b and len(a.split()) >= 4 and f" {a} " in f" {b} "

    expected = {
        (d.id, t.id)
        for d in dev
        for t in test
        if within(normalised(d.input), normalised(t.input)) or within(normalised(t.input), normalised(d.input))
    }
    assert {(a, b) for kind, a, b in found(dev, test) if kind == "contains"} == expected


@given(st.integers(0, 20))
def test_no_near_duplicate_above_the_threshold_is_missed(seed):
    rng = random.Random(seed)
    text = [f"w{rng.randrange(1000)}" for _ in range(120)]
    other = [word if rng.random() > 0.02 else "x" for word in text]
    grams = [{tuple(t[i : i + 3]) for i in range(len(t) - 2)} for t in (text, other)]
    jaccard = len(grams[0] & grams[1]) / len(grams[0] | grams[1])
    kinds = {kind for kind, *_ in found([record("a", " ".join(text))], [record("b", " ".join(other))])}
    if jaccard > 0.92:
        assert kinds & {"near", "text"}
    if jaccard < 0.8:
        assert "near" not in kinds


def test_the_order_of_the_rows_does_not_matter():
    rng = random.Random(1)
    rows = [record(str(n), " ".join(rng.choices("abcdefgh", k=12))) for n in range(40)]
    dev, test = rows[:20], [record(f"t{r.id}", r.input) for r in rows[10:30]]
    assert found(dev, test) == found(dev[::-1], test[::-1])


def test_training_prompts_are_held_against_every_evaluation_set_and_sets_of_one_side_are_not():
    text = "may I take both pills before the operation tomorrow"
    parts = [
        Part("train", "train", [record("1", text)], dataset="training"),
        Part("mt_dev", "dev", [record("1", "a note")], dataset="mt"),
        Part("aya_test", "test", [record("1", f"Please tell me: {text}, or not?")], dataset="aya"),
        Part("mts_test", "test", [record("9", f"Please tell me: {text}, or not?")], dataset="mts"),
    ]
    assert {(o.kind, o.left_split, o.right_split) for o in overlaps_between(parts, CONFIG)} == {
        ("contains", "aya_test", "train"),
        ("contains", "mts_test", "train"),
    }


def test_numbers_that_two_datasets_use_as_ids_and_pairs_are_no_overlap():
    parts = [
        Part("a", "dev", [record("7", "one", pair_id=3)], dataset="a"),
        Part("b", "test", [record("7", "two", pair_id=3)], dataset="b"),
    ]
    assert overlaps_between(parts, CONFIG) == []
    same = [Part(part.name, part.side, part.records, dataset="a") for part in parts]
    assert {o.kind for o in overlaps_between(same, CONFIG)} == {"id", "group"}


def test_texts_in_scripts_without_spaces_are_compared_by_character():
    text = "你是一名医疗助理，请帮助患者理解化验结果并安排下一次复诊的时间。"
    changed = text.replace("患者", "病人")
    assert found([record("a", text)], [record("b", f"请注意。{text}谢谢。")]) == {("contains", "a", "b")}
    close = OverlapConfig(jaccard=0.6, shingle_words=2, containment_words=4)
    assert found([record("a", text)], [record("b", changed)], close) == {("near", "a", "b")}


def test_siblings_that_end_differently_are_found_by_their_group():
    opening = (Message("user", "How do I mix bleach?"),)
    chosen = Record("train_1_chosen", (*opening, Message("assistant", "I would not.")), fields={"group": "g"})
    rejected = Record("train_1_rejected", (*opening, Message("assistant", "With vinegar, it")), fields={"group": "g"})
    assert found([chosen], [rejected]) == {("group", "train_1_chosen", "train_1_rejected")}


def test_equal_notes_under_two_specialties_are_found_although_their_formatting_differs():
    def formatted(id_, specialty):
        step = FormatTranscription(op="format_transcription", system="s")
        fields = {"medical_specialty": specialty, "sample_name": "n", "description": "d", "transcription": "Knee pain."}
        return step.run(Splits(dev=[record(id_, **fields)]), None).splits.dev[0]

    dev, test = formatted("1", "Surgery"), formatted("2", "Orthopedic")
    assert dev.text not in test.text
    assert found([dev], [test]) == {("text", "1", "2")}


def test_the_cleaned_set_is_a_step_of_a_recipe_and_names_what_it_dropped():
    step = DropOverlaps(op="drop_overlaps", split="test", jaccard=0.8, shingle_words=3, containment_words=4)
    splits = Splits(dev=[record("a", "same"), record("b")], test=[record("c", " SAME "), record("d", "other")])
    outcome = step.run(splits, None)
    assert [row.id for row in outcome.splits.test] == ["d"]
    assert outcome.splits.dev == splits.dev
    assert [(row.id, row.reason) for row in outcome.dropped] == [("c", "overlaps (text) with a")]
    assert find_overlaps({"dev": outcome.splits.dev, "test": outcome.splits.test}, CONFIG) == []


def test_rows_that_repeat_each_other_within_a_side_cost_no_pairs():
    every = [record(str(n), "the same words again and again") for n in range(3000)]
    assert found(every, [record("t", "something else entirely, in other words")]) == set()
