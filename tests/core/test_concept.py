import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models_under_pressure.baselines.asked import judge_prompt
from models_under_pressure.baselines.prompted.questions import load_template
from models_under_pressure.core import concept
from models_under_pressure.core.concept import CONCEPTS, Classes, Words, chosen_concept, elided, filled, load_concept
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, read_records, write_records
from models_under_pressure.datasets.labelling import LabelConfig, label_prompt, labeller
from models_under_pressure.synthesis.questions import writer

SHIPPED = sorted(path.stem for path in CONCEPTS.glob("*.yaml"))
HARASSMENT = Classes(positive="harassing", negative="civil", ambiguous="unclear")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_prompts_of_every_shipped_concept_leave_no_gap(name):
    found = load_concept(name)
    told = [
        label_prompt(labeller(found, LabelConfig(method=method))) for method in ("scale", *found.labelling.criteria)
    ]
    told += [judge_prompt(found), *(writer(found).prompt(name) for name in ("neutralise", "manipulate", "annotate"))]
    told += [load_template(name, found).system or "" for name in ("default", "single_word", "single_letter")]
    assert not any(re.search(r"\{\w+\}", text) for text in told)
    if name != "stakes":
        assert not any("stakes" in text for text in told)


def test_the_words_that_code_takes_for_the_papers_are_those_of_its_file():
    assert load_concept("stakes").classes == concept.STAKES
    assert chosen_concept(Path("nowhere/params.yaml")).name == "stakes"


@given(st.sampled_from(list(Label)))
def test_a_word_names_the_class_that_it_came_from(label):
    assert HARASSMENT.label(HARASSMENT.word(label)) is label


def test_classes_of_one_word_are_refused():
    with pytest.raises(ValidationError, match="two classes have one word"):
        Classes(positive="bad", negative="Bad")


def test_nouns_are_the_words_themselves_where_none_are_given():
    assert (HARASSMENT.positive_noun, HARASSMENT.columns) == ("harassing", ("harassing", "civil"))
    assert Words(HARASSMENT).contrast == "harassing from civil"
    assert Words().contrast == "high from low stakes"


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [("high-stakes", "low-stakes", "high-"), ("high stakes", "low stakes", "high"), ("rude", "civil", "rude")],
)
def test_what_two_terms_share_is_said_once(first, second, told):
    assert elided(first, second) == told


def test_a_piece_that_looks_like_a_gap_is_not_filled():
    assert filled("{a} {b} {c}", a="{b}", b="x") == "{b} x {c}"


def test_labels_come_back_from_a_file_as_they_were(tmp_path):
    rows = [Record(label, "Hi", label=label, classes=HARASSMENT) for label in Label]
    write_records(tmp_path / "a.jsonl", rows)
    assert '"labels": "unclear"' in (tmp_path / "a.jsonl").read_text()
    assert sorted(read_records(tmp_path / "a.jsonl", HARASSMENT), key=rows.index) == rows


def test_words_of_another_concept_are_refused_with_file_line_and_the_words_known(tmp_path):
    write_records(tmp_path / "a.jsonl", [Record("1", "Hi", label=Label.HIGH)])
    with pytest.raises(UserError) as caught:
        read_records(tmp_path / "a.jsonl", HARASSMENT)
    message = str(caught.value)
    assert "a.jsonl:1" in message
    assert "'high-stakes'" in message
    assert "civil, harassing, unclear" in message
    assert "\n" not in message


def test_labels_of_any_concept_stay_as_they_are_where_nobody_asks_for_them(tmp_path):
    write_records(tmp_path / "a.jsonl", [Record("1", "Hi", label=Label.HIGH, classes=HARASSMENT)])
    (record,) = read_records(tmp_path / "a.jsonl", None)
    assert (record.label, record.fields) == (None, {"labels": "harassing"})


def test_a_concept_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    with pytest.raises(UserError, match=r"there is no concept 'other'.*\(mine\)"):
        load_concept("other", tmp_path)


def test_a_file_names_its_concept_and_every_wrong_key_with_its_line(tmp_path):
    text = "name: other\nfinds: x\nasks: y\nclasses:\n  positive: a\n  negative: b\n"
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match="`name` is 'other'"):
        load_concept("mine", tmp_path)
    (tmp_path / "mine.yaml").write_text(text.replace("asks", "aks"))
    with pytest.raises(UserError, match=r"mine.yaml:3: `aks`: unknown key"):
        load_concept("mine", tmp_path)


def test_four_lines_are_a_concept_until_something_is_asked_of_a_model(tmp_path):
    text = "name: mine\nfinds: x\nasks: y\nclasses: {positive: a, negative: b}\n"
    (tmp_path / "mine.yaml").write_text(text)
    mine = load_concept("mine", tmp_path)
    assert mine.classes.words == ("b", "a", "ambiguous")
    with pytest.raises(UserError, match="concepts/mine.yaml: the concept has no `labelling`"):
        labeller(mine, LabelConfig())
