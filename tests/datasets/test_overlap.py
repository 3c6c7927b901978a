import random

from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.datasets.overlap import OverlapConfig, find_overlaps
from models_under_pressure.datasets.parsed import normalised
from models_under_pressure.records import Message, Record

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
