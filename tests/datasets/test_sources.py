import csv
import json

import pytest

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.datasets.sources import anthropic, mental_health, mt, mts, toolace
from models_under_pressure.datasets.sources.anthropic import parse_dialogue


def write_csv(path, columns, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


def test_a_dialogue_is_cut_at_its_speakers():
    assert parse_dialogue("\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye") == (
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "Bye"),
    )


def test_blank_lines_and_indentation_inside_a_turn_are_kept():
    text = "Try:\n\n    if x:\n        y()\n\nDone."
    assert parse_dialogue(f"\n\nHuman: code?\n\nAssistant: {text}")[1] == Message("assistant", text)


def test_the_spelling_humans_leaves_no_colon():
    assert parse_dialogue("\n\nHumans: Hi\n\nAssistant: Hello")[0] == Message("user", "Hi")


def test_text_before_the_first_speaker_is_a_system_turn():
    assert parse_dialogue("A note.\n\nHuman: Hi") == (Message("system", "A note."), Message("user", "Hi"))


def test_siblings_and_rows_with_one_opening_share_a_group(tmp_path):
    opening = "\n\nHuman: May I mix these?\n\nAssistant: "
    rows = [{"chosen": opening + "No.", "rejected": opening + "Yes."}, {"chosen": opening + "Ask.", "rejected": ""}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parsed = anthropic.parse(tmp_path)
    assert [record.id for record in parsed.records] == ["train_0_chosen", "train_0_rejected", "train_1_chosen"]
    assert len({record.group for record in parsed.records}) == 1
    assert [(row.id, row.reason) for row in parsed.dropped] == [("train_1_rejected", "empty dialogue")]


MT = ["Unnamed: 0", "description", "medical_specialty", "sample_name", "transcription", "keywords"]


def test_one_transcription_under_two_specialties_is_one_group_and_an_empty_one_is_refused(tmp_path):
    rows = [
        [4, "d", " Surgery", " A ", "Knee  pain.", "knee"],
        [9, "d", " Orthopedic", " A ", "knee pain.", ""],
        [12, "d", " Surgery", " B ", "", ""],
    ]
    write_csv(tmp_path / "mtsamples.csv", MT, rows)
    parsed = mt.parse(tmp_path)
    assert [record.id for record in parsed.records] == ["4", "9"]
    assert parsed.records[0].group == parsed.records[1].group
    assert parsed.records[1].fields["keywords"] is None
    assert [row.id for row in parsed.dropped] == ["12"]


def test_the_two_mts_test_files_do_not_share_ids_and_line_ends_are_kept(tmp_path):
    for prefix, (name, _) in mts.FILES.items():
        rows = [[0, "GENHX", "Context.", f"Doctor: {prefix}?\r\nPatient: Yes."]]
        write_csv(tmp_path / name, ["ID", "section_header", "section_text", "dialogue"], rows)
    records = mts.parse(tmp_path).records
    assert [record.id for record in records] == ["validation_0", "training_0", "test_chat_0", "test_sum_0"]
    assert "\r\n" in records[0].fields["dialogue"]


def test_a_tool_turn_becomes_a_user_turn_and_an_unknown_role_is_an_error(tmp_path):
    row = {"system": "s", "conversations": [{"from": "user", "value": "a"}, {"from": "tool", "value": "{}"}]}
    (tmp_path / "data.json").write_text(json.dumps([row]))
    assert [message.role for message in toolace.parse(tmp_path).records[0].messages] == ["system", "user", "user"]
    row["conversations"][1]["from"] = "robot"
    (tmp_path / "data.json").write_text(json.dumps([row]))
    with pytest.raises(UserError, match=r"row 0: unknown role 'robot'"):
        toolace.parse(tmp_path)


def test_missing_statements_are_refused_and_repeated_ids_made_unique(tmp_path):
    rows = [[1, "", "Normal"], [2, "nan", "Normal"], [3, "#NAME?", "Stress"], [4, "ok", "Normal"], [4, "hm", "Stress"]]
    write_csv(tmp_path / "combined_data.csv", ["id", "statement", "status"], rows)
    parsed = mental_health.parse(tmp_path)
    assert [record.id for record in parsed.records] == ["4", "4_2"]
    assert [row.id for row in parsed.dropped] == ["1", "2", "3"]


def test_a_cut_csv_and_wrong_columns_are_errors_with_the_place(tmp_path):
    path = tmp_path / "mtsamples.csv"
    path.write_text(",".join(MT) + "\n1,a,b\n")
    with pytest.raises(UserError, match="row 1 .*wrong number of fields"):
        mt.parse(tmp_path)
    path.write_text("id,text\n1,a\n")
    with pytest.raises(UserError, match="are missing"):
        mt.parse(tmp_path)
