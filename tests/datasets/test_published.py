import csv
import hashlib
import io
import json
from pathlib import Path

import pytest
from server import serving

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, read_records
from models_under_pressure.datasets.distribution import inconsistencies
from models_under_pressure.datasets.published import PublishedFile, convert, load_catalog, load_selected, report
from models_under_pressure.stages import download

ROOT = Path(__file__).parents[2]


def row(id_, inputs="Hi", **columns):
    if not isinstance(inputs, str):
        inputs = json.dumps(inputs)
    labels = {"labels": "low-stakes", "scale_labels": 2, "scale_label_confidence": 8, "scale_label_model": "gpt-4o"}
    return {"inputs": inputs, "ids": id_, **labels, **columns}


def jsonl(*rows):
    return "".join(json.dumps(one) + "\n" for one in rows).encode()


def converted(tmp_path, *rows, name="file.jsonl"):
    (tmp_path / name).write_bytes(jsonl(*rows))
    return convert(tmp_path / name)


def test_the_catalog_names_every_published_file_once_and_the_selection_starts_empty():
    catalog = load_catalog(ROOT / "published/catalog.yaml")
    for origin in ("r2", "hub"):
        urls = {catalog.select(key, origin).url for key in catalog.files}
        assert len(urls) == 22
        assert all(url.startswith(catalog.bases[origin]) and url.endswith((".jsonl", ".csv")) for url in urls)
    assert len({file.to for file in catalog.files.values()}) == 22
    assert load_selected(ROOT / "published/params.yaml") == {}
    with pytest.raises(UserError, match="no published file 'mtt'"):
        catalog.select("mtt", "r2")


def test_every_dataset_in_use_but_the_control_set_has_a_published_file():
    from models_under_pressure.datasets.lineage import load_lineage

    used_as = [file.used_as for file in load_catalog(ROOT / "published/catalog.yaml").files.values() if file.used_as]
    in_use = load_lineage(ROOT / "data/versions.yaml").in_use
    assert sorted(used_as) == sorted(one.name for one in in_use if one.purpose != "control")


def test_double_encoded_conversations_become_messages_and_scores_stay(tmp_path):
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    (record,) = converted(tmp_path, row("a", turns)).records
    assert record.input == (Message("system", "Be kind."), Message("user", "Hi"))
    assert (record.label, record.scale_label, record.scale_label_confidence) == (Label.LOW, 2, 8)


def test_a_missing_text_is_dropped_and_not_labelled_as_the_word_nan(tmp_path):
    result = converted(tmp_path, row("1", "nan", labels="high-stakes"), row("2", "#NAME?"), row("3", "ok"))
    assert [record.id for record in result.records] == ["3"]
    assert [(repair.id, repair.what) for repair in result.repairs] == [
        ("1", "dropped: its text is 'nan'"),
        ("2", "dropped: its text is '#NAME?'"),
    ]
    assert report(result)["repaired"] == {"dropped": 2}
    assert result.rows_read == 3


def test_tool_turns_become_user_turns_and_unknown_roles_are_an_error(tmp_path):
    turns = [{"role": "user", "content": "Rain?"}, {"role": "tool", "content": "{}"}]
    result = converted(tmp_path, row("1", turns))
    assert [message.role for message in result.records[0].messages] == ["user", "user"]
    assert result.records[0].messages[1].content.endswith("{}")
    assert [repair.what for repair in result.repairs] == ["tool turns: 1 became user turns"]
    with pytest.raises(UserError, match="file.jsonl:1: unknown role 'robot'"):
        converted(tmp_path, row("1", [{"role": "robot", "content": "x"}]))


def test_rows_with_one_id_are_all_kept_under_ids_of_their_own(tmp_path):
    result = converted(tmp_path, row("hs_3", "one"), row("hs_3", "two", labels="high-stakes"), row("4"))
    assert [record.id for record in result.records] == ["hs_3", "hs_3_2", "4"]
    assert [repair.id for repair in result.repairs] == ["hs_3_2"]


def test_a_text_that_is_a_json_string_loses_its_quotes_and_escapes(tmp_path):
    result = converted(tmp_path, row("1", '"Where\\u2019s \\"he\\"?"'), row("2", '"Go" she said'), row("3", '["a"]'))
    assert [record.input for record in result.records] == ['Where’s "he"?', '"Go" she said', '["a"]']
    assert [repair.id for repair in result.repairs] == ["1"]


def test_empty_and_not_a_number_columns_leave_no_trace(tmp_path):
    (tmp_path / "f.jsonl").write_text('{"inputs": "a", "ids": 1, "keywords": NaN, "scale_label_score": null}\n')
    (record,) = convert(tmp_path / "f.jsonl").records
    assert record.fields["keywords"] is None
    assert "scale_label_score" not in record.fields


def test_a_csv_file_with_its_id_column_is_read_too(tmp_path):
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=["id", "inputs", "labels", "scale_labels", "pair_id"])
    writer.writeheader()
    writer.writerow({"id": "7_high", "inputs": "a\nb", "labels": "high-stakes", "scale_labels": "9.0", "pair_id": "7"})
    (tmp_path / "f.csv").write_text(text.getvalue())
    (record,) = convert(tmp_path / "f.csv").records
    assert (record.id, record.input, record.scale_label, record.group) == ("7_high", "a\nb", 9, "7")
    (tmp_path / "f.csv").write_text("id,inputs,labels\n<<<<<<< HEAD\n1,a,low-stakes\n")
    with pytest.raises(UserError, match="row 1 .*wrong number of fields"):
        convert(tmp_path / "f.csv")


def test_siblings_and_equal_notes_get_the_group_that_their_source_would_give_them(tmp_path):
    def dialogue(end):
        return [{"role": "user", "content": "Mix?"}, {"role": "assistant", "content": end}]

    result = converted(
        tmp_path,
        row("train_1_chosen", dialogue("No."), category="chosen", index=1),
        row("train_1_rejected", dialogue("Yes."), category="rejected", index=1),
        row("5", "Specialty: A\nKnee", transcription="Knee"),
        row("6", "Specialty: B\nKnee", transcription="knee "),
    )
    groups = [record.group for record in result.records]
    assert groups[0] == groups[1] != groups[2] == groups[3]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"inputs": "a", "ids": 1}\n{"inp', "file.jsonl:2: line is not JSON"),
        (b'{"text": "a", "ids": 1}\n', "row has no `inputs` or `messages` column"),
        (b'{"inputs": "a", "ids": 1, "labels": "middling"}\n', "unknown label 'middling'"),
        (b"", "no row could be read"),
        (b"[1]\n", "row is not a JSON object"),
    ],
)
def test_a_cut_or_changed_file_is_one_clear_error(tmp_path, content, problem):
    (tmp_path / "file.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=problem):
        convert(tmp_path / "file.jsonl")


def test_a_file_is_fetched_verified_converted_and_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = jsonl(row("1", "nan"), row("2"))
    sha256 = hashlib.sha256(body).hexdigest()
    with serving({"a/f.jsonl": body}) as base:
        file = PublishedFile(url=f"{base}a/f.jsonl", sha256=sha256, rows=2, to="evals/dev/f.jsonl")
        download.run("f", file=file)
        first = Path("data/published/evals/dev/f.jsonl").read_bytes()
        download.run("f", file=file)
    assert Path("data/published/evals/dev/f.jsonl").read_bytes() == first
    assert [record.id for record in read_records(Path("data/published/evals/dev/f.jsonl"))] == ["2"]
    found = json.loads(Path("data/published/reports/f.json").read_text())
    assert (found["rows_read"], found["rows"], found["sha256"]) == (2, 1, sha256)
    assert list(Path("data/downloads").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"rows": 3}, "2 rows came, but 3 are expected"), ({"sha256": "00"}, "but 00 is pinned"), ({"url": "x"}, "404")],
)
def test_a_file_that_is_not_the_one_expected_leaves_what_was_there(tmp_path, monkeypatch, changes, problem):
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "data/published/f.jsonl"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    with serving({"f.jsonl": jsonl(row("1"), row("2"))}) as base:
        file = {"url": "f.jsonl", "sha256": None, "rows": None, "to": "f.jsonl"} | changes
        with pytest.raises(UserError, match=problem):
            download.run("f", file=PublishedFile(**{**file, "url": base + file["url"]}))
    assert old.read_text() == "old"


def test_a_balanced_file_that_does_not_fit_its_raw_file_is_told():
    raw = [Record("1", "a", Label.LOW), Record("2", "b", Label.HIGH), Record("3", "c", Label.AMBIGUOUS)]
    assert inconsistencies(raw, raw[:2]) == []
    assert inconsistencies(raw, [*raw, Record("9", "z", Label.LOW), Record("2", "other", Label.LOW)]) == [
        "1 rows that the raw file does not have",
        "1 rows with another text than in the raw file",
        "1 rows with another label than in the raw file",
        "1 ambiguous rows",
        "classes of unequal size: low-stakes 3, high-stakes 1, ambiguous 1",
    ]
