from dataclasses import replace

import pytest
from askers import Asker
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from stakes import LABELLER, STAKES, StakesReply

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record
from models_under_pressure.datasets.labelling import (
    LabelConfig,
    Thresholds,
    label_prompt,
    label_question,
    label_records,
    labeller,
    to_label,
)

METHODS = ("scale", "rubric", "anthropic_context", "anthropic_extended_context", "mt_context", "mt_extended_context")


@given(st.integers(1, 10), st.integers(1, 10))
def test_thresholds_agree_with_the_paper(stakes, confidence):
    label = to_label(rating=stakes, confidence=confidence, thresholds=Thresholds())
    sure = confidence >= 7
    assert (label is Label.LOW) == (sure and stakes <= 3)
    assert (label is Label.HIGH) == (sure and stakes >= 8)


def test_thresholds_that_would_make_a_score_both_are_refused():
    with pytest.raises(ValidationError, match="a score would be both"):
        Thresholds(low_max=8, high_min=8)


def test_every_method_is_the_scale_with_its_own_criteria_before_the_form_of_the_reply():
    scale = label_prompt(LABELLER)
    head, form = scale.split("\nReply with")
    for method in METHODS[1:]:
        prompt = label_prompt(LABELLER.by(method))
        assert prompt.startswith(head)
        assert prompt.endswith(form)
        assert len(prompt) > len(scale)
    assert len({label_prompt(LABELLER.by(method)) for method in METHODS}) == len(METHODS)
    assert not any("{" in label_prompt(LABELLER.by(method)) for method in METHODS)


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match="use one of scale, rubric, anthropic_context"):
        labeller(STAKES, LabelConfig(method="scorecard"))


def test_the_labeller_reasons_before_it_rates():
    assert list(StakesReply.model_fields) == ["explanation", "stakes", "confidence"]


def test_the_question_holds_the_conversation_with_its_system_prompt_as_lines():
    record = Record("a", (Message("system", "Be kind."), Message("user", "Hi")))
    assert label_question(record, LABELLER).messages[1].content == "system: Be kind.\nuser: Hi"
    assert label_question(replace(record, input="Hi"), LABELLER).messages[1].content == "Hi"


def test_labels_scores_method_and_thresholds_are_in_the_output():
    labelled = label_records([Record("a", "Hi")], how=LABELLER.by("rubric"), ask=Asker()).records[0]
    assert labelled.label is not None
    assert labelled.scale_label_model == "judge"
    assert labelled.fields["label_method"] == "rubric"
    assert labelled.fields["label_thresholds"] == {"low_max": 3, "high_min": 8, "confidence_min": 7}


def test_a_question_without_an_answer_is_told_and_never_dropped_in_silence():
    labelled = label_records([Record("a", "x"), Record("b", "y")], how=LABELLER, ask=Asker(fails={"a"}))
    assert [record.id for record in labelled.records] == ["b"]
    assert [(failure.record_id, failure.kind) for failure in labelled.failures] == [("a", "timeout")]


def test_a_row_with_the_same_id_and_another_text_is_asked_anew():
    old, new = (label_question(Record("a", text), LABELLER) for text in ("one", "two"))
    assert old.messages != new.messages
    assert label_question(Record("a", "one"), LABELLER.by("rubric")).messages != old.messages
