"""`mup datasets import`: somebody's table becomes records, and every row is accounted for."""

import csv
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from server import serving
from typer.testing import CliRunner

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, read_records, write_records
from models_under_pressure.datasets.columns import Asked
from models_under_pressure.datasets.importing import Share, Spool
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.datasets.tables import Pinned, open_source, source_rows
from models_under_pressure.tools.datasets import app

ROOT = Path(__file__).parents[2]
CHAT = [{"role": "user", "content": "it's 'quoted'\nand more"}, {"role": "assistant", "content": "yes, no"}]


def imported(tmp_path, source, pinned=None, **asked):
    """The records and the report of a source."""
    folder = tmp_path / "spool"
    folder.mkdir(exist_ok=True)
    (folder / "rows.sqlite").unlink(missing_ok=True)
    opened = open_source(str(source), pinned or Pinned(), downloads=folder)
    with Spool(folder) as spool:
        report = spool.fill(source_rows(opened, unpacked=folder), Asked(**asked), where=str(source))
        return list(spool.records(Share())), report


def table(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def written_csv(tmp_path, rows, **form):
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), **form)
        writer.writeheader()
        writer.writerows(rows)
    return path


def labels_of(records):
    return {record.id: record.label for record in records}


TWO = "text,label\nmay I take both pills,1\nwhat rhymes with blue,0\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (TWO, "table.csv"),
        ("\ufeff" + TWO, "table.csv"),
        (TWO.encode("utf-16"), "table.csv"),
        (TWO.replace(",", ";"), "table.csv"),
        (TWO.replace(",", "\t"), "table.csv"),
        (TWO.replace(",", "\t"), "table.tsv"),
        (gzip.compress(TWO.encode()), "table.csv.gz"),
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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of git and DVC without data."""
    import_module("dvc.utils.serialize")  # its loggers keep the streams of the moment: not CliRunner's, which close
    for name in ("params.yaml", "data/versions.yaml", ".gitignore", ".dvcignore", ".dvc/config"):
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "data/own").mkdir()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / ".site"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mup(*arguments):
    result = CliRunner().invoke(app, ["import", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".git/" not in str(path)}


def test_a_dry_run_writes_nothing_and_a_run_writes_records_tracked_by_dvc_and_the_entry(project):
    table(project, TWO)
    before = snapshot(project)
    assert "rows           2 read, 2 kept" in mup("table.csv", "--as", "mine", "--dry-run")
    assert snapshot(project) == before
    told = mup("table.csv", "--as", "mine", "--purpose", "dev")
    assert "classes        0 = low-stakes, 1 = high-stakes" in told
    assert "written        data/own/mine.jsonl, in use for dev: high-stakes 1, low-stakes 1" in told
    assert load_lineage().datasets["dev"]["mine"] == "data/own/mine.jsonl"
    sidecar = Path("data/own/mine.jsonl.dvc").read_text()
    assert "remote: datasets" in sidecar
    assert f"sha256: {hashlib.sha256(TWO.encode()).hexdigest()}" in sidecar
    from dvc.repo import Repo

    (stage,) = Repo().index.stages  # found from the root: `dvc push` sends it
    assert stage.addressing == "data/own/mine.jsonl.dvc"
    assert not Repo().status()
    after = snapshot(project)
    mup("table.csv", "--as", "mine", "--purpose", "dev")  # the same again changes nothing
    changed = {path for path, content in snapshot(project).items() if after.get(path) != content}
    assert not {path for path in changed if ".dvc/tmp" not in str(path) and ".site" not in str(path)}
    table(project, TWO.replace("blue", "green"))
    with pytest.raises(UserError, match=r"other content: its sha256 was .* and is .*--replace"):
        mup("table.csv", "--as", "mine")
    mup("table.csv", "--as", "mine", "--replace")
    assert "green" in Path("data/own/mine.jsonl").read_text()


def test_a_run_that_fails_on_its_way_leaves_everything_as_it_was(project):
    table(project, TWO)
    mup("table.csv", "--as", "mine")
    before = snapshot(project / "data")
    table(project, TWO.replace("blue", "green"))
    with pytest.raises(UserError, match="'mine' is a dev and a test dataset: rename one"):
        mup("table.csv", "--as", "mine", "--purpose", "test", "--replace")
    assert snapshot(project / "data") == before
    shutil.rmtree(".dvc")
    with pytest.raises(UserError, match=r"`dvc add` failed \(you are not inside of a DVC repository"):
        mup("table.csv", "--as", "mine", "--replace")
    assert snapshot(project / "data") == before


def test_rows_that_cannot_be_used_stop_the_import_unless_they_are_allowed(project):
    table(project, TWO + "a third text,\n")
    with pytest.raises(UserError, match="1 of 3 rows cannot be used; nothing is written"):
        mup("table.csv", "--as", "mine")
    assert not Path("data/own/mine.jsonl").exists()
    mup("table.csv", "--as", "mine", "--allow-refused")
    assert len(read_records(Path("data/own/mine.jsonl"))) == 2
    assert "it has no label.: 1" in Path("data/own/mine.jsonl.dvc").read_text()


def test_one_table_becomes_all_datasets_in_use(project):
    lines = [{"text": f"text number {n}", "label": n % 2} for n in range(200)]
    table(project, "\n".join(map(json.dumps, lines)), "t.jsonl")
    mup("t.jsonl", "--as", "own", "--purpose", "train=0.4,validation=0.2,dev=0.2,test=0.2", "--alone")
    with pytest.raises(UserError, match=r"own_dev.jsonl: of both classes it would get (none|\w+-stakes 1)"):
        mup("t.jsonl", "--as", "own", "--purpose", "train=0.998,dev=0.002", "--replace")
    found = load_lineage().in_use
    assert [(one.name, one.purpose) for one in found] == [
        (f"own_{purpose}", purpose) for purpose in ("train", "validation", "dev", "test")
    ]
    assert sum(len(read_records(one.path)) for one in found) == 200


def test_overlaps_with_datasets_in_use_for_other_purposes_are_told(project):
    write_records(Path("data/training/prompts_4x/train.jsonl"), read_records(table(project, TRAIN, "train.jsonl")))
    table(project, TWO)
    assert "overlaps       mine: train 1 (pairs" in mup("table.csv", "--as", "mine", "--dry-run")
    assert "overlaps       mine: none" in mup("table.csv", "--as", "mine", "--purpose", "train", "--dry-run")
    told = json.loads(mup("table.csv", "--as", "mine", "--dry-run", "--format", "json"))
    assert told["overlaps"] == {"mine": {"train": 1}}


TRAIN = '{"ids": "x", "inputs": "May I take both pills?", "labels": "high-stakes"}\n'


@pytest.mark.parametrize("purpose", ["dve", "dev=0.5", "dev=0.5,test=0.6", "dev=,test=1", "dev=x"])
def test_a_purpose_that_does_not_exist_is_told(project, purpose):
    table(project, TWO)
    with pytest.raises(UserError, match="is no purpose"):
        mup("table.csv", "--as", "mine", "--purpose", purpose)
    with pytest.raises(UserError, match="is no word"):
        mup("table.csv", "--as", "../mine")


SHA, OTHER = "a" * 40, "b" * 40


def hub_files(sha, parts, card=None):
    """What the hub answers for `org/data` at a commit."""
    siblings = [{"rfilename": name} for name in ["README.md", *parts]]
    info = {"id": "org/data", "sha": sha, "siblings": siblings, "cardData": card or {}, "private": False}
    return json.dumps(info).encode(), {f"datasets/org/data/resolve/{sha}/{name}": body for name, body in parts.items()}


def on_hub(answers, project, *arguments):
    """`mup datasets import hf://org/data`, by a process whose HF_ENDPOINT is a server on this machine."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = answers.get(self.path.lstrip("/").partition("?")[0], (404, {"X-Error-Code": "EntryNotFound"}, b""))
            status, headers, body = found if isinstance(found, tuple) else (200, {}, found)
            self.send_response(status)
            commit = {"X-Repo-Commit": self.path.split("/")[5]} if "/resolve/" in self.path else {}
            etag = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"'}
            for name, value in {**commit, **etag, **headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    own = {
        "HF_ENDPOINT": f"http://127.0.0.1:{httpd.server_port}",
        "HF_HOME": str(project / ".hf"),
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(ROOT / "src"),
    }
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_CACHE")}
    command = [sys.executable, "-m", "models_under_pressure", "datasets", "import", "hf://org/data", "--as", "d"]
    try:
        return subprocess.run(
            [*command, *arguments], cwd=project, env=environment | own, capture_output=True, text=True, check=False
        )
    finally:
        httpd.shutdown()
        httpd.server_close()


INFO, MAIN = "api/datasets/org/data", "api/datasets/org/data/revision/main"


def test_a_hub_dataset_is_imported_at_a_commit_that_is_written_down(project):
    info, files = hub_files(SHA, {"data/train-0.csv": TWO.encode(), "data/test-0.csv": TWO.encode()})
    done = on_hub({INFO: info, **files}, project, "--split", "test")
    assert done.returncode == 0, done.stderr
    assert f"revision {SHA}, split test" in done.stdout
    assert f"revision: {SHA}" in Path("data/own/d.jsonl.dvc").read_text()
    later, files = hub_files(OTHER, {"data/test-0.csv": TWO.replace("blue", "red").encode()})
    done = on_hub({INFO: later, **files}, project, "--split", "test")
    assert done.returncode == 1
    assert f"its revision was {SHA} and is {OTHER}" in done.stderr
    assert len(done.stderr.splitlines()) == 2, "one line, after the one of what is not made yet"
    assert "blue" in Path("data/own/d.jsonl").read_text()


def test_configs_and_splits_are_those_of_the_card_and_are_asked_for_where_there_are_several(project):
    card = {
        "configs": [
            {"config_name": "en", "data_files": [{"split": "all", "path": "en/*.csv"}]},
            {"config_name": "de", "data_files": "de/*.csv"},
        ]
    }
    info, files = hub_files(SHA, {"en/a.csv": TWO.encode(), "de/a.csv": TWO.replace("blue", "blau").encode()}, card)
    answers = {INFO: info, f"{INFO}/revision/v1": info, **files}
    done = on_hub(answers, project)
    assert done.returncode == 1
    assert "there are 2 configs. Remedy: name one with --config: en, de." in done.stderr
    done = on_hub(answers, project, "--config", "de", "--revision", "v1", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "config de" in done.stdout


@pytest.mark.parametrize(
    ("answers", "arguments", "problem"),
    [
        ({INFO: (401, {"X-Error-Code": "RepoNotFound"}, b"")}, [], "or it is private and HF_TOKEN is not set"),
        ({INFO: (403, {"X-Error-Code": "GatedRepo"}, b"")}, [], "is gated, and HF_TOKEN is not set"),
        (
            {f"{INFO}/revision/v9": (404, {"X-Error-Code": "RevisionNotFound"}, b"")},
            ["--revision", "v9"],
            "there is no revision v9",
        ),
        ({INFO: hub_files(SHA, {"a.bin": b""})[0]}, [], "no CSV, Parquet or JSON Lines file is in it"),
    ],
)
def test_a_hub_dataset_that_cannot_be_had_is_one_line_with_the_remedy(project, answers, arguments, problem):
    done = on_hub(answers, project, *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert problem in line
    assert "Remedy:" in line
    assert not list(Path("data/own").iterdir())
