"""Somebody's table becomes records, and every row is accounted for."""

import gzip
import hashlib
import json
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_tables import CHAT, TWO, imported, labels_of, table, written_csv
from server import serving

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, read_records, write_records
from models_under_pressure.datasets.columns import Asked
from models_under_pressure.datasets.importing import Share, Spool
from models_under_pressure.datasets.tables import Pinned, open_source, source_rows


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (TWO, "table.csv"),
        ("\ufeff" + TWO, "table.csv"),
        (TWO.encode("utf-16"), "table.csv"),
        (TWO.replace(",", ";"), "table.csv"),
        (TWO.replace(",", "\t"), "table.csv"),
        (TWO.replace(",", "\t"), "table.tsv"),
        (gzip.compress(TWO.encode(), mtime=0), "table.csv.gz"),
        (TWO.replace("\n", "\r\n"), "table.csv"),
        ('{"text": "may I take both pills", "label": 1}\n{"text": "what rhymes with blue", "label": 0}', "t.jsonl"),
        ('[{"text": "may I take both pills", "label": 1},\n{"text": "what rhymes with blue", "label": 0}]', "t.json"),
    ],
)
def test_a_table_is_read_whatever_program_wrote_it(tmp_path, text, name):
    records, report = imported(tmp_path, table(tmp_path, text, name))
    assert [(one.id, one.input, one.label) for one in records] == [
        ("0", "may I take both pills", Label.HIGH),
        ("1", "what rhymes with blue", Label.LOW),
    ]
    assert (report.rows, report.records, report.labels) == (2, 2, {"high-stakes": 1, "low-stakes": 1})
    assert report.columns == {"text": "text", "label": "label", "id": "the row's number"}


@pytest.mark.parametrize(
    ("high", "low"),
    [("yes", "no"), ("1", "0"), ("True", "False"), ("1.0", "0.0"), (" Yes ", "NO"), ("oui", "non"), ("Ja", "Nein")],
)
def test_words_that_mean_the_same_everywhere_need_no_option(tmp_path, high, low):
    path = written_csv(tmp_path, [{"text": "a b c", "label": high}, {"text": "d e f", "label": low}])
    records, report = imported(tmp_path, path)
    assert labels_of(records) == {"0": Label.HIGH, "1": Label.LOW}
    assert sorted(report.meanings.values()) == ["high-stakes", "low-stakes"]


@pytest.mark.parametrize("values", [[True, False, None], [1.0, 0.0, None], [1, 0, None], ["yes", "no", ""]])
def test_parquet_labels_are_read_in_any_type_and_a_missing_one_is_told(tmp_path, values):
    rows = pyarrow.table({"text": ["a b c", "d e f", "g h i"], "label": values})
    pyarrow.parquet.write_table(rows, tmp_path / "table.parquet")
    records, report = imported(tmp_path, tmp_path / "table.parquet")
    assert labels_of(records) == {"0": Label.HIGH, "1": Label.LOW}
    assert dict(report.refused) == {"it has no label.": 1}
    assert report.refused_rows == ["table.parquet:3: it has no label."]


def test_classes_in_three_languages_are_taken_by_the_users_word(tmp_path):
    words = ["gefährlich", "dangereux", "खतरनाक", "harmlos", "anodin", "सुरक्षित"]
    path = written_csv(tmp_path, [{"text": f"text {word}", "klasse": word} for word in words])
    records, report = imported(tmp_path, path, positive=("Gefährlich", "dangereux", "खतरनाक"))
    assert report.columns["label"] == "klasse"
    assert [one.label for one in sorted(records, key=lambda one: int(one.id))] == [Label.HIGH] * 3 + [Label.LOW] * 3
    assert [one.fields["klasse"] for one in sorted(records, key=lambda one: int(one.id))] == words
    with pytest.raises(UserError, match=r"not plain: 'klasse' holds 'anodin' \(1\), 'dangereux' \(1\).*--positive"):
        imported(tmp_path, path, label="klasse")


def test_quoted_newlines_and_a_field_of_150000_characters_stay_as_they_are(tmp_path):
    long = "word, “quoted”\n\r\n" * 10_000
    path = written_csv(tmp_path, [{"text": long, "label": 1}, {"text": 'a "b"\nc', "label": 0}], delimiter=";")
    records, _ = imported(tmp_path, path)
    assert [one.input for one in records] == [long, 'a "b"\nc']


@pytest.mark.parametrize("spelled", [json.dumps, repr])
def test_a_column_of_messages_is_read_in_json_or_as_python_prints_it(tmp_path, spelled):
    rows = [{"chat": spelled(CHAT), "flag": "yes"}, {"chat": spelled(CHAT[:1]), "flag": "no"}]
    records, report = imported(tmp_path, written_csv(tmp_path, rows), label="flag")
    assert [(one.role, one.content) for one in records[0].messages] == [(m["role"], m["content"]) for m in CHAT]
    assert report.columns["messages"] == "chat"
    assert report.repaired["Python lists read as messages"] == (2 if spelled is repr else 0)


def test_messages_of_parquet_and_of_the_other_spelling_are_read(tmp_path):
    talks = [[{"from": "human", "value": "a b"}], [{"from": "gpt", "value": "c d"}]]
    pyarrow.parquet.write_table(pyarrow.table({"conversations": talks, "label": [1, 0]}), tmp_path / "t.parquet")
    records, _ = imported(tmp_path, tmp_path / "t.parquet")
    assert [one.messages[0].role for one in records] == ["user", "assistant"]


@pytest.mark.parametrize(
    "hostile",
    [
        "[__import__('os').system('touch owned')]",
        "[{'role': open('/etc/passwd').read(), 'content': ''}]",
        "[" * 100_000,
        "[" + "-" * 100_000 + "1]",
        "[{'role': 'user', 'content': '" + "a" * 600_000 + "'}]",
        "array([{'role': 'user', 'content': 'a'}], dtype=object)",
    ],
)
def test_text_that_looks_like_python_is_never_run_and_told_where_it_is_no_conversation(tmp_path, hostile):
    rows = [{"messages": json.dumps(CHAT), "label": 1}, {"messages": json.dumps(CHAT), "label": 0}]
    path = written_csv(tmp_path, [*rows, {"messages": hostile, "label": 0}])
    _, report = imported(tmp_path, path, messages="messages")
    assert dict(report.refused) == {"its conversation is no list of messages.": 1}
    assert not (tmp_path / "owned").exists()


@given(st.text(alphabet="[]{}()'\"\\,:-+*0123456789abjnorseul ", max_size=60))
def test_no_cell_makes_the_reader_fail(text):
    from models_under_pressure.datasets.columns import conversation

    found, repaired = conversation("[" + text)
    assert found == "[" + text or isinstance(found, list)
    assert not (repaired and isinstance(found, str))


def test_repeated_ids_get_numbers_that_are_free_and_are_counted(tmp_path):
    ids = ["a", "a", "a_2", "a", ""]
    rows = [{"id": id_, "text": f"text number {n}", "label": n % 2} for n, id_ in enumerate(ids)]
    records, report = imported(tmp_path, written_csv(tmp_path, rows))
    assert {one.input: one.id for one in records} == {
        "text number 0": "a",
        "text number 1": "a_2",
        "text number 2": "a_2_2",
        "text number 3": "a_3",
        "text number 4": "4",
    }
    assert report.repaired == {"ids that another row has got a number": 3}


def test_duplicates_and_contradictory_labels_of_one_text_are_told(tmp_path):
    rows = [("Take  Both pills", 1), ("take both pills", 0), ("take both pills", 1), ("blue", 0), ("blue", 0)]
    path = written_csv(tmp_path, [{"text": text, "label": label} for text, label in rows])
    records, report = imported(tmp_path, path)
    assert (len(records), report.duplicates, report.contradictory) == (5, 3, 1)
    assert report.contradictions == [["0", "1", "2"]]


def test_rows_without_text_and_of_unknown_roles_are_refused_with_their_reason(tmp_path):
    lines = [
        {"text": "a b", "label": 1},
        {"text": "c d", "label": 0},
        {"text": None, "label": 0},
        {"text": "nan", "label": 0},
        {"text": "  ", "label": 0},
        {"text": [{"role": "umpire", "content": "out"}], "label": 1},
        {"text": "lone \ud800 surrogate", "label": 1},
    ]
    path = table(tmp_path, "\n".join(json.dumps(line) for line in lines), "t.jsonl")
    records, report = imported(tmp_path, path)
    assert len(records) == 2
    assert report.refused == {
        "it has no text.": 3,
        "unknown role 'umpire'.": 1,
        "row holds half of a character (a lone surrogate).": 1,
    }
    assert report.refused_rows[3] == "t.jsonl:6: unknown role 'umpire'."


def test_columns_that_mean_something_to_records_are_renamed_not_lost(tmp_path):
    lines = [
        {"text": "a b", "stakes": 1, "labels": "x", "ids": 7, "inputs": "other", "group": 3, "who": "me"},
        {"text": "c d", "stakes": 0, "labels": "x", "ids": 7, "inputs": "other", "group": 4, "who": "me"},
    ]
    path = table(tmp_path, "\n".join(map(json.dumps, lines)), "t.jsonl")
    records, _ = imported(tmp_path, path, text="text", label="stakes", id="ids", group="who")
    assert records[0].group == "me"
    assert records[0].fields == {
        "original_inputs": "other",
        "original_labels": "x",
        "original_group": 3,
        "stakes": 1,
        "group": "me",
    }


def test_record_files_come_through_byte_for_byte(tmp_path):
    rows = [
        {"ids": "b", "inputs": json.dumps(CHAT), "labels": "high-stakes", "scale_labels": 9, "topic": "x"},
        {"ids": "a", "inputs": "plain", "labels": "low-stakes", "scale_label_model": "m", "pair_id": 3},
    ]
    path = table(tmp_path, "\n".join(map(json.dumps, rows)), "t.jsonl")
    write_records(tmp_path / "today.jsonl", read_records(path))
    records, _ = imported(tmp_path, path)
    write_records(tmp_path / "imported.jsonl", records)
    assert (tmp_path / "imported.jsonl").read_bytes() == (tmp_path / "today.jsonl").read_bytes()


def test_a_folder_is_one_table_and_folders_of_texts_are_classes(tmp_path):
    (tmp_path / "tables").mkdir()
    table(tmp_path / "tables", TWO, "a.csv")
    table(tmp_path / "tables", '{"text": "third of all", "label": true}\n', "b.jsonl")
    records, report = imported(tmp_path, tmp_path / "tables")
    assert (len(records), report.records) == (3, 3)
    assert [one.fields["source_dataset"] for one in records] == ["a", "a", "b"]
    for label, text in (("threat", "I will find you"), ("chat", "nice weather today")):
        (tmp_path / "texts" / label).mkdir(parents=True)
        table(tmp_path / "texts" / label, text, "1.txt")
    records, _ = imported(tmp_path, tmp_path / "texts", positive=("threat",))
    assert labels_of(records) == {"threat/1": Label.HIGH, "chat/1": Label.LOW}


@pytest.mark.parametrize(
    ("text", "asked", "problem", "remedy"),
    [
        (TWO, {"text": "txt"}, "there is no column 'txt'", "--text: text, label"),
        (TWO, {"text": "text", "messages": "text"}, "the text is in one column", "not both"),
        (TWO, {"label": "class"}, "there is no column 'class'", "--label: text, label"),
        (
            TWO,
            {"positive": ("harm",)},
            r"no row has the label 'harm'; 'label' holds '0' \(1\)",
            "--positive",
        ),
        (TWO.replace(",0", ",1"), {}, r"every row is high-stakes: 'label' holds '1' \(2\)", "--label"),
        (TWO, {"positive": ("0", "1")}, "every row is high-stakes", "other values with --positive"),
        ("text,label\n", {}, "holds no rows", "right file"),
        ("", {}, "holds no rows", "right file"),
        ("a,b\nx y z,1.5\nu v w,2.5\n", {}, "no column is plainly the label", "--label, one of a, b"),
        ("a,b,label\nx y z,1 2 3,0\nu v w,4 5 6,1\n", {}, "no column is plainly the text", "--text or --messages"),
        ("text,label\n,1\n,0\n", {}, r"no row can be used: it has no text. \(2 of 2\)", "--text"),
        ("text,label\na b c,1,2\n", {}, "wrong number of fields", "repair it"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_remedy(tmp_path, text, asked, problem, remedy):
    with pytest.raises(UserError, match=problem) as raised:
        imported(tmp_path, table(tmp_path, text), **asked)
    assert remedy in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_spreadsheet_and_a_missing_file_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match="save the sheet as CSV"):
        imported(tmp_path, table(tmp_path, b"PK", "table.xlsx"))
    with pytest.raises(UserError, match="no such file"):
        imported(tmp_path, tmp_path / "nowhere.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="the folder holds no table"):
        imported(tmp_path, tmp_path / "empty")


def test_an_address_is_verified_by_its_hash(tmp_path):
    right = hashlib.sha256(TWO.encode()).hexdigest()
    with serving({"t.csv?download=true": TWO.encode()}) as base:
        address = f"{base}t.csv?download=true"
        records, _ = imported(tmp_path, address, Pinned(sha256=right))
        assert len(records) == 2
        assert open_source(address, Pinned(), downloads=tmp_path).origin == {"source": f"{base}t.csv", "sha256": right}
        with pytest.raises(UserError, match=f"content has sha256 {right}, but 0000 is pinned"):
            imported(tmp_path, address, Pinned(sha256="0000"))
    with pytest.raises(UserError, match="is asked for"):
        imported(tmp_path, table(tmp_path, TWO), Pinned(sha256="0000"))


def test_rows_of_one_group_or_text_fall_to_one_part_and_every_row_to_exactly_one(tmp_path):
    lines = [{"text": f"text {n // 2}", "label": n % 2} for n in range(400)]
    lines += [{"text": f"other {n}", "label": n % 2, "pair_id": n // 2} for n in range(400)]
    folder = tmp_path / "spool"
    folder.mkdir()
    path = table(tmp_path, "\n".join(map(json.dumps, lines)), "t.jsonl")
    with Spool(folder) as spool:
        spool.fill(source_rows(open_source(str(path), Pinned(), downloads=folder), unpacked=folder), Asked(), where="t")
        parts = [list(spool.records(Share(low, low + 0.25, 42))) for low in (0, 0.25, 0.5, 0.75)]
        assert sorted(one.id for part in parts for one in part) == sorted(one.id for one in spool.records(Share()))
        other = {one.id for one in spool.records(Share(0, 0.25, 43))}
    clusters = [{one.fields.get("pair_id", one.text) for one in part} for part in parts]
    assert sum(map(len, clusters)) == len(set().union(*clusters)) == 400
    assert min(map(len, parts)) > 140
    assert other != {one.id for one in parts[0]}


def test_memory_is_flat_in_the_number_of_rows(tmp_path):
    """Peaks of two processes, one of which reads ten times the rows of the other."""
    script = (
        "import resource, sys, pathlib\n"
        "from models_under_pressure.datasets.columns import Asked\n"
        "from models_under_pressure.datasets.importing import Share, Spool\n"
        "from models_under_pressure.datasets.tables import Pinned, open_source, source_rows\n"
        "folder = pathlib.Path(sys.argv[2]); folder.mkdir()\n"
        "with Spool(folder) as spool:\n"
        "    opened = open_source(sys.argv[1], Pinned(), downloads=folder)\n"
        "    spool.fill(source_rows(opened, unpacked=folder), Asked(), where='t')\n"
        "    sum(1 for _ in spool.rows(Share()))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for rows in (3_000, 30_000):
        path = tmp_path / f"{rows}.csv"
        with path.open("w") as stream:
            stream.write("id,text,label\n")
            stream.writelines(f"row {n},{n} {'some words of a text ' * 20},{n % 2}\n" for n in range(rows))
        command = [sys.executable, "-c", script, str(path), str(tmp_path / f"spool {rows}")]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 8_000, "kilobytes for 27,000 rows of 12 MB"
