import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, content_hash, read_records, write_records

DIALOGUE = [{"role": "user", "content": "Which valve?"}, {"role": "assistant", "content": "The left one."}]


def write_lines(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def test_a_native_conversation_and_a_double_encoded_one_read_alike(tmp_path):
    path = write_lines(
        tmp_path / "rows.jsonl", {"ids": "a", "inputs": DIALOGUE}, {"ids": "b", "inputs": json.dumps(DIALOGUE)}
    )
    native, encoded = read_records(path)
    assert native.input == encoded.input == (Message("user", "Which valve?"), Message("assistant", "The left one."))


def test_a_quoted_json_string_stays_text(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", {"inputs": json.dumps("how are you"), "ids": 1})
    assert read_records(path)[0].input == '"how are you"'


def test_a_bracketed_text_that_is_no_conversation_stays_text(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", {"inputs": "[1, 2]", "ids": 1}, {"inputs": "[sic] hello", "ids": 2})
    assert [record.input for record in read_records(path)] == ["[1, 2]", "[sic] hello"]


def test_missing_ids_are_row_numbers_and_numeric_ids_become_text(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", {"inputs": "x"}, {"inputs": "y", "ids": 7})
    assert [record.id for record in read_records(path)] == ["0", "7"]


@pytest.mark.parametrize(("value", "label"), [(0, Label.LOW), (1, Label.HIGH), (2, Label.AMBIGUOUS)])
def test_integer_labels_of_older_files_are_read(tmp_path, value, label):
    assert read_records(write_lines(tmp_path / "r.jsonl", {"inputs": "x", "labels": value}))[0].label is label


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{not json", "not JSON"),
        ("<<<<<<< HEAD", "not JSON"),
        ("", "not JSON"),
        ("[1]", "not a JSON object"),
        ({"ids": "a"}, "no `inputs` column"),
        ({"inputs": "x", "labels": "medium-stakes"}, "unknown label 'medium-stakes'"),
        ({"inputs": "x", "labels": 3}, "unknown label 3"),
        ({"inputs": "  "}, "conversation is empty"),
        ({"inputs": []}, "conversation is empty"),
        ({"inputs": "[]"}, "conversation is empty"),
        ({"inputs": None}, "conversation is missing"),
        ({"inputs": [{"role": "user"}]}, "message is not an object"),
        ({"inputs": [{"role": "user", "content": 3}]}, "message is not an object"),
    ],
)
def test_a_bad_row_is_an_error_that_names_the_file_the_line_and_the_remedy(tmp_path, row, problem):
    path = write_lines(tmp_path / "rows.jsonl", {"inputs": "fine"}, row)
    with pytest.raises(UserError, match=problem) as caught:
        read_records(path)
    assert f"{path}:2" in str(caught.value)
    assert "Remedy:" in str(caught.value)


def test_a_repeated_id_is_an_error(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", {"inputs": "x", "ids": 1}, {"inputs": "y", "ids": "1"})
    with pytest.raises(UserError, match="occur more than once, first '1'"):
        read_records(path)


def test_hasattr_and_copy_work_on_a_record():
    import copy

    record = Record("a", "x")
    assert not hasattr(record, "no_such_column")
    assert copy.deepcopy(record) == record


def test_ambiguous_records_are_neither_high_nor_low():
    with pytest.raises(ValueError, match="ambiguous"):
        _ = Record("a", "x", label=Label.AMBIGUOUS).is_high


text = st.text(min_size=1).filter(lambda s: s.strip())
messages = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), text), min_size=1)
records = st.lists(
    st.builds(
        Record,
        id=st.uuids().map(str),
        input=messages.map(tuple) | text.filter(lambda s: not s.lstrip().startswith("[")),
        label=st.none() | st.sampled_from(list(Label)),
        scale_label=st.none() | st.integers(1, 10),
        scale_label_explanation=st.none() | st.text(),
        fields=st.dictionaries(st.sampled_from(["pair_id", "keywords", "original_labels"]), st.none() | st.text()),
    ),
    unique_by=lambda record: record.id,
)


@given(records)
def test_records_survive_a_round_trip_in_any_order(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("records") / "rows.jsonl"
    write_records(path, rows)
    first = path.read_bytes()
    assert read_records(path) == sorted(rows, key=lambda record: record.id)
    write_records(path, rows[::-1])
    assert path.read_bytes() == first
    assert content_hash(rows) == content_hash(rows[::-1])


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_records(path, [Record("a", "x")])
    with pytest.raises(ValueError, match="JSON compliant"):
        write_records(path, [Record("b", "y", fields={"score": float("nan")})])
    assert [record.id for record in read_records(path)] == ["a"]
    assert list(tmp_path.iterdir()) == [path]
