"""What a row says is in its record and in the row that is written of it; what cannot be read is told word for word."""

import json
from dataclasses import replace

import pytest

from models_under_pressure.core.concept import STAKES, Classes
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import (
    Label,
    Record,
    classes_of,
    collect_records,
    content_hash,
    read_records,
    stream_records,
    to_record,
    to_row,
    write_records,
)

TURNS = [{"role": "user", "content": "Which valve?"}, {"role": "assistant", "content": "The left one."}]
ROW = {
    "ids": "a",
    "inputs": TURNS,
    "tools": [{"type": "function", "function": {"name": "dose", "parameters": {}}}],
    "labels": "high-stakes",
    "scale_labels": 9,
    "scale_label_confidence": 8,
    "scale_label_explanation": "A valve.",
    "scale_label_model": "m",
    "group": "g",
    "score": 0.5,
}
URGENCY = Classes(positive="urgent", negative="calm", ambiguous="unclear")


def one(row, **settings):
    return to_record(row, where="here", **{"default_id": "0"} | settings)


def test_every_column_of_a_row_is_in_its_record_and_is_written_again():
    record = one(ROW)
    assert record == Record(
        "a",
        (Message("user", "Which valve?"), Message("assistant", "The left one.")),
        label=Label.HIGH,
        scale_label=9,
        scale_label_confidence=8,
        scale_label_explanation="A valve.",
        scale_label_model="m",
        fields={"group": "g", "score": 0.5},
        tools=tuple(ROW["tools"]),
    )
    assert list(to_row(record).items()) == list(ROW.items())


def test_what_a_record_does_not_say_is_no_column():
    assert to_row(Record("a", "x")) == {"ids": "a", "inputs": "x"}
    assert to_row(Record("a", "x", scale_label=0, fields={"note": None})) == {
        "ids": "a",
        "inputs": "x",
        "scale_labels": 0,
        "note": None,
    }


def test_a_file_is_written_in_the_order_of_its_ids_and_read_as_it_is(tmp_path):
    path = tmp_path / "rows.jsonl"
    records = [one(ROW | {"ids": id_, "inputs": said}) for id_, said in (("b", "1"), ("a", "3"), ("c", "2"))]
    write_records(path, records)
    assert read_records(path) == [records[1], records[0], records[2]]


def test_the_words_of_another_concept_are_read_and_written(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"ids": word, "inputs": "x", "labels": word} for word in sorted(URGENCY.words)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = read_records(path, URGENCY)
    assert [record.label for record in records] == [Label.LOW, Label.AMBIGUOUS, Label.HIGH]
    assert [to_row(record) for record in records] == rows
    assert all(record.classes == URGENCY for record in records)
    with pytest.raises(UserError, match="unknown label 'calm'"):
        read_records(path)


def test_without_a_concept_a_label_is_a_column_like_any_other():
    record = one({"inputs": "x", "labels": "whatever"}, classes=None)
    assert (record.label, record.fields, record.classes) == (None, {"labels": "whatever"}, STAKES)


def test_a_row_with_inputs_and_messages_is_read_by_its_inputs():
    record = one({"inputs": "said", "messages": TURNS})
    assert (record.input, record.fields) == ("said", {"messages": TURNS})


def test_white_space_before_a_conversation_within_a_string_does_not_matter():
    assert one({"inputs": "\n " + json.dumps(TURNS)}).input == one({"inputs": TURNS}).input


def test_the_hash_of_the_content_sees_ids_and_words_and_neither_labels_nor_columns():
    record = one(ROW)
    other = replace(record, label=Label.LOW, scale_label=1, fields={}, classes=URGENCY)
    assert content_hash([other]) == content_hash([record])
    changes = ({"id": "b"}, {"input": record.input[:1]}, {"input": record.input[::-1]}, {"tools": ()})
    hashes = {content_hash([replace(record, **change)]) for change in changes} | {content_hash([record])}
    assert len(hashes) == 5


def test_a_conversation_reads_as_its_turns_with_the_tools_before_them():
    assert Record("a", "Which valve?").text == "Which valve?"
    assert Record("a", "x").messages == (Message("user", "x"),)
    assert one({"inputs": TURNS}).text == "user: Which valve?\nassistant: The left one."
    tools, said = one(ROW | {"inputs": "x"}).text.rsplit("\n", 1)
    assert said == "user: x"
    assert one(ROW).text == f"{tools}\nuser: Which valve?\nassistant: The left one."


@pytest.mark.parametrize(("label", "is_high", "word"), [(Label.HIGH, True, "urgent"), (Label.LOW, False, "calm")])
def test_a_label_is_high_or_low_and_has_the_word_of_its_concept(label, is_high, word):
    record = Record("a", "x", label=label, classes=URGENCY)
    assert (record.is_high, record.label_word) == (is_high, word)


@pytest.mark.parametrize(("label", "reason"), [(Label.AMBIGUOUS, "unclear"), (None, "not labelled")])
def test_a_record_of_neither_class_is_not_called_one(label, reason):
    with pytest.raises(ValueError, match=f"^record a is {reason}$"):
        _ = Record("a", "x", label=label, classes=URGENCY).is_high


def test_records_have_the_words_of_the_first_and_none_have_the_papers():
    assert classes_of([Record("a", "x", classes=URGENCY), Record("b", "x")]) == URGENCY
    assert classes_of([]) == STAKES


def test_a_stream_yields_each_record_before_the_next_row_is_there():
    taken = []

    def rows():
        for number in (1, 2, 3):
            taken.append(number)
            yield number, {"inputs": f"row {number}"}

    stream = stream_records(rows(), where="stdin")
    assert (next(stream), taken) == (Record("0", "row 1"), [1])
    assert [record.id for record in stream] == ["1", "2"]


def test_a_row_of_a_stream_that_cannot_be_read_is_named_with_its_line():
    with pytest.raises(UserError, match="^stdin:2: conversation is empty"):
        list(stream_records([(1, {"inputs": "x"}), (2, {"inputs": ""})], where="stdin"))


LINES = [
    ([1], "row is not a JSON object. Remedy: write one object per line."),
    (
        {"text": "x", "about": 1},
        "row has no `inputs` or `messages` column (columns: about, text). "
        "Remedy: rename the column that holds the conversation to `inputs`.",
    ),
    (
        {"inputs": "\ud800"},
        "row holds half of a character (a lone surrogate). Remedy: repair the text, or delete the row.",
    ),
    (
        {"inputs": "x", "at": {1}},
        "row cannot be kept as JSON (Object of type set is not JSON serializable). Remedy: repair its columns.",
    ),
    (
        {"inputs": "x", "labels": "high"},
        "unknown label 'high'. Remedy: use one of low-stakes, high-stakes, ambiguous, or choose its `concept` in "
        "params.yaml.",
    ),
    ({"inputs": " "}, "conversation is empty. Remedy: delete the row."),
    ({"inputs": []}, "conversation is empty. Remedy: delete the row."),
    ({"inputs": None}, "conversation is missing. Remedy: give a string or a list of messages."),
    ({"inputs": 7}, "conversation is a int. Remedy: give a string or a list of messages."),
]


@pytest.mark.parametrize(("row", "line"), LINES)
def test_a_row_that_cannot_be_read_is_told_in_one_line(row, line):
    with pytest.raises(UserError) as caught:
        one(row)
    assert str(caught.value) == f"here: {line}"


@pytest.mark.parametrize("label", [True, False, 1.0, 3, -1, "", "HIGH-STAKES", ["high-stakes"]])
def test_what_only_looks_like_a_label_is_none(label):
    with pytest.raises(UserError, match="unknown label"):
        one({"inputs": "x", "labels": label})


REPEATED = [(1, {"ids": 7, "inputs": "x"}), (2, {"ids": "8", "inputs": "y"}), (3, {"ids": "7", "inputs": "z"})]


@pytest.mark.parametrize(
    ("read", "line"),
    [
        (collect_records, "here: 1 ids occur more than once, first '7'. "),
        (stream_records, "here:3: the id '7' occurred before. "),
    ],
)
def test_an_id_that_occurs_twice_is_told_in_one_line(read, line):
    with pytest.raises(UserError) as caught:
        list(read(REPEATED, where="here"))
    assert str(caught.value) == f"{line}Remedy: give every row its own `ids` value."
