from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record
from models_under_pressure.synthesis.selection import draw_rows, drop_repeats, keep_agreeing_pairs


def row(id_, pair, *, high=True, label=None, text=None, split="train"):
    fields = {"pair_id": pair, "high_stakes": high, "split": split}
    return Record(id_, text or f"text of {id_}", label=label, fields=fields)


def test_a_row_whose_label_contradicts_the_intent_goes_with_its_partner():
    rows = [
        row("a", "1", label=Label.HIGH),
        row("b", "1", high=False, label=Label.LOW),
        row("c", "2", label=Label.LOW),
        row("d", "2", high=False, label=Label.LOW),
        row("e", "3", label=Label.HIGH),
        row("f", "4", label=Label.AMBIGUOUS),
        row("g", "4", high=False, label=Label.LOW),
    ]
    selection = keep_agreeing_pairs(rows)
    assert [record.id for record in selection.records] == ["a", "b"]
    assert dict(selection.dropped) == {
        "2": "c was meant high-stakes and labelled low-stakes",
        "3": "its partner has no answer",
        "4": "f was meant high-stakes and labelled ambiguous",
    }


def test_of_pairs_that_share_a_text_the_first_stays():
    rows = [
        row("a", "1", text="Call me  now"),
        row("b", "1", high=False),
        row("c", "2", text="call me now"),
        row("d", "2", high=False),
        row("e", "3", text="same"),
        row("f", "3", high=False, text="Same"),
        row("g", "4"),
        row("h", "4", high=False),
    ]
    selection = drop_repeats(rows, known=[row("z", "0", text="text of h")])
    assert [record.id for record in selection.records] == ["a", "b"]
    assert dict(selection.dropped) == {
        "2": "pair 1 has the same text",
        "3": "its two prompts are equal",
        "4": "pair 0 has the same text",
    }


def test_a_dropped_pair_does_not_take_others_with_it():
    rows = [
        row("a", "1", text="x"),
        row("b", "1", text="X"),
        row("c", "2", text="x"),
        row("d", "2"),
    ]
    assert [record.id for record in drop_repeats(rows).records] == ["c", "d"]


def many_pairs(train, test):
    pairs = [("train", n) for n in range(train)] + [("test", n) for n in range(test)]
    return [row(f"{split}{n}{high}", f"{split}{n}", high=high, split=split) for split, n in pairs for high in (1, 0)]


@given(st.integers(1, 30), st.sampled_from([0.0, 0.2, 0.5]), st.integers(0, 99), st.randoms(use_true_random=False))
def test_rows_are_drawn_as_whole_pairs_in_the_ratio_of_the_splits(pairs, test_fraction, seed, random):
    records = many_pairs(40, 20)
    shuffled = random.sample(records, len(records))
    drawn = draw_rows(records, rows=2 * pairs, test_fraction=test_fraction, seed=seed).records
    again = draw_rows(shuffled, rows=2 * pairs, test_fraction=test_fraction, seed=seed).records
    assert {record.id for record in drawn} == {record.id for record in again}
    test = round(pairs * test_fraction)
    assert sum(record.fields["split"] == "test" for record in drawn) == 2 * test
    assert len(drawn) == 2 * pairs
    assert all(len([r for r in drawn if r.fields["pair_id"] == record.fields["pair_id"]]) == 2 for record in drawn)


def test_too_few_rows_are_an_error_and_never_a_silent_shrink():
    with pytest.raises(UserError, match="6 test rows asked for, but only 4 are left") as caught:
        draw_rows(many_pairs(20, 2), rows=30, test_fraction=0.2, seed=0)
    assert "raise synthesise.situations" in str(caught.value)


def test_a_selection_keeps_the_rows_as_they_are():
    rows = [replace(one, label=Label.HIGH if one.fields["high_stakes"] else Label.LOW) for one in many_pairs(3, 3)]
    assert keep_agreeing_pairs(rows).records == rows
