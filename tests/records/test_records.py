import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.baselines.data import conversation_text
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import (
    Label,
    Record,
    content_hash,
    read_records,
    to_record,
    to_row,
    write_records,
)

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
        ('{"inputs": ' + "[" * 100_000, "nested too deep"),
        ({"inputs": "\ud800"}, "half of a character"),
        ({"inputs": "x", "score": float("inf")}, "cannot be kept as JSON"),
        ("[1]", "not a JSON object"),
        ({"ids": "a"}, "no `inputs` or `messages` column"),
        ({"inputs": "x", "labels": "medium-stakes"}, "unknown label 'medium-stakes'"),
        ({"inputs": "x", "labels": 3}, "unknown label 3"),
        ({"inputs": "  "}, "conversation is empty"),
        ({"inputs": []}, "conversation is empty"),
        ({"inputs": "[]"}, "conversation is empty"),
        ({"inputs": None}, "conversation is missing"),
        ({"inputs": [{"role": "user"}]}, "message is not an object"),
        ({"inputs": [{"role": "user", "content": 3}]}, "content is a int"),
        ({"inputs": [{"role": "user", "content": None}]}, "no content and no tool call"),
        ({"inputs": [{"role": "banana", "content": "x"}]}, r"unknown role 'banana'.*assistant: assistant, model"),
        ({"inputs": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "'image_url', which is"),
        ({"inputs": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "'input_audio', which is no text"),
        ({"inputs": [{"role": "user", "content": "x", "audio": {"id": 1}}]}, "key 'audio', which would be lost"),
        ({"inputs": [{"role": "assistant", "tool_calls": [{"id": 1}]}]}, "names no function"),
        ({"inputs": "x", "tools": "a hammer"}, "not a list of tool definitions"),
        ({"inputs": "x", "tools": "[" * 100_000}, "not a list of tool definitions"),
        ({"inputs": [{"role": "assistant", "tool_calls": [{"name": "dose", "args": {}, "mg": 1}]}]}, "the key 'mg'"),
        ({"inputs": json.dumps([{"role": "user", "content": "\ud800"}])}, "half of a character"),
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


CALL = {"id": "c1", "type": "function", "function": {"name": "dose", "arguments": {"mg": 40}}}
TOOL = {"type": "function", "function": {"name": "dose", "parameters": {}}}


def first(tmp_path, **row):
    return read_records(write_lines(tmp_path / "rows.jsonl", row))[0]


@pytest.mark.parametrize(
    ("word", "role"),
    [
        ("Assistant", "assistant"),
        ("model", "assistant"),
        ("AI", "assistant"),
        ("bot", "assistant"),
        ("gpt", "assistant"),
        ("human", "user"),
        ("Function", "tool"),
        ("ipython", "tool"),
        ("developer", "developer"),
    ],
)
def test_what_other_formats_call_a_speaker_is_mapped_in_any_case(tmp_path, word, role):
    assert first(tmp_path, messages=[{"role": word, "content": "x"}]).messages == (Message(role, "x"),)
    assert first(tmp_path, inputs=[{"from": word, "value": "x"}]).messages == (Message(role, "x"),)


def test_text_parts_are_joined_in_their_order(tmp_path):
    parts = [{"type": "text", "text": "Which "}, "valve", {"text": "?"}]
    assert first(tmp_path, inputs=[{"role": "user", "content": parts}]).messages[0].content == "Which valve?"


@pytest.mark.parametrize(
    "call", [CALL, {"name": "dose", "arguments": {"mg": 40}}, {"function": {"name": "dose", "arguments": '{"mg": 40}'}}]
)
def test_calls_thinking_names_and_tools_are_read_and_stand_in_the_text(tmp_path, call):
    asked = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "too much?"}
    record = first(tmp_path, inputs=[asked, {"role": "tool", "name": "dose", "content": "ok"}], tools=[TOOL])
    assert record.messages[0].tool_calls[0].name == "dose"
    assert record.messages[0].tool_calls[0].arguments == '{"mg": 40}'
    for told in ("too much?", '"mg": 40', "dose: ok", "<tools>"):
        assert told in record.text


def test_a_plain_string_with_tools_tells_of_them_too(tmp_path):
    record = first(tmp_path, inputs="How much?", tools=json.dumps([TOOL]))
    assert "dose" in record.text
    assert "dose" in conversation_text(record)
    assert to_record(to_row(record), where="here", default_id="x") == record


def test_text_that_is_nested_too_deep_to_be_messages_stays_text(tmp_path):
    assert first(tmp_path, inputs="[" * 100_000).input == "[" * 100_000


turn = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.text(min_size=1)},
    optional={
        "reasoning_content": st.text(min_size=1),
        "name": st.text(min_size=1),
        "tool_call_id": st.text(min_size=1),
        "tool_calls": st.lists(
            st.builds(
                lambda name, mg, id_: {"id": id_, "function": {"name": name, "arguments": {"mg": mg}}},
                st.text(min_size=1),
                st.integers(0, 3),
                st.text(min_size=1),
            ),
            min_size=1,
            max_size=2,
        ),
    },
)


@given(st.lists(turn, min_size=1, max_size=3).filter(lambda turns: any(t["content"].strip() for t in turns)), st.data())
def test_no_field_of_a_turn_can_change_without_the_hash_of_the_content(turns, data):
    record = to_record({"inputs": turns, "tools": [TOOL]}, where="here", default_id="a")
    assert to_record(to_row(record), where="here", default_id="b") == record
    changed = json.loads(json.dumps(turns))
    one = data.draw(st.sampled_from(changed))
    key = data.draw(st.sampled_from(sorted(one.keys() - {"role"})))
    one[key] = one[key] + (one[key][:1] if key == "tool_calls" else "!")
    other = to_record({"inputs": changed, "tools": [TOOL]}, where="here", default_id="a")
    assert content_hash([other]) != content_hash([record])
    assert content_hash([replace(record, tools=())]) != content_hash([record])


@given(st.sampled_from([None, float("nan"), "", " "]), st.sampled_from([0, 1, "0", False, "a"]))
def test_zero_is_a_group_and_nothing_is_none(missing, given_):
    assert Record("id", "x", fields={"group": missing, "pair_id": missing}).group == "id"
    assert Record("id", "x", fields={"group": missing, "pair_id": given_}).group == str(given_)
    assert Record("id", "x", fields={"group": given_, "pair_id": "z"}).group == str(given_)


ROWS = '{"ids": "a", "inputs": "é"}\r\n{"ids": "b", "inputs": "漢", "group": NaN}\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_utf8_and_marked_utf16_are_read_with_blank_lines_at_the_end(tmp_path, encoding):
    (tmp_path / "rows.jsonl").write_bytes((ROWS + "\n \r\n").encode(encoding))
    assert [(record.input, record.group) for record in read_records(tmp_path / "rows.jsonl")] == [
        ("é", "a"),
        ("漢", "b"),
    ]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "shift-jis", "gb18030", "utf-32", "utf-16-le"])
def test_another_encoding_is_one_line_that_names_the_file(tmp_path, encoding):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS.encode(encoding, errors="replace").replace(b"?", "漢".encode("shift-jis")))
    with pytest.raises(UserError, match=r"rows\.jsonl.*Remedy") as caught:
        read_records(path)
    assert "\n" not in str(caught.value)


def test_a_blank_line_between_rows_is_an_error_that_names_it(tmp_path):
    with pytest.raises(UserError, match=r"rows\.jsonl:2: line is not JSON \(it is blank\)"):
        read_records(write_lines(tmp_path / "rows.jsonl", {"inputs": "x"}, "", {"inputs": "y"}))


def test_a_folder_and_a_missing_file_say_what_they_are(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        read_records(tmp_path)
    with pytest.raises(UserError, match="check the path"):
        read_records(tmp_path / "none.jsonl")


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_are_read_with_fields_of_any_length(tmp_path, suffix, separator, encoding):
    long = "a " * 75_000 + "end"
    rows = [["ids", "inputs", "labels", "note"], ["x", f'"{long}\nnext"', "1", ""], ["y", "short", "low-stakes", "n"]]
    table = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
    (tmp_path / f"rows.{suffix}").write_bytes(table.encode(encoding))
    x, y = read_records(tmp_path / f"rows.{suffix}")
    assert (x.input, x.label, x.fields["note"]) == (f"{long}\nnext", Label.HIGH, None)
    assert (y.label, y.fields["note"]) == (Label.LOW, "n")


def test_parquet_is_read_and_a_damaged_one_is_one_line(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"ids": 1, "inputs": DIALOGUE, "group": 0}]), path)
    (record,) = read_records(path)
    assert (record.id, record.messages[1].content, record.group) == ("1", "The left one.", "0")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"rows\.parquet: not a Parquet file"):
        read_records(path)


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
