"""Record files and ledgers that hold other bytes than were written: one line says so, and nothing is believed."""

import json
import os
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fault_server import FaultServer
from fuzzing import many
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ledger import Ledger
from models_under_pressure.llm.reply import Reply, Usage, from_row, to_row
from models_under_pressure.llm.store import ReplyStore, read_record_file
from models_under_pressure.tools.replies import app, export_ledger, prune_ledger, replies_stats, verify_replies

DEMO = Path(__file__).parents[2] / "data" / "demo" / "replies"
CONTENT = '{"explanation": "because", "stakes": 7}'


@pytest.fixture
def filled(question, config, store):
    """A store with two paid replies in ledger and record file; both closed."""
    with FaultServer() as server, closing(store()) as one:
        ask_all([question(1), question(2)], config=config(server), store=one, what="t")
        one.write_record_file()
    return one


def read_all(record_file: Path, ledger: Path) -> list[str]:
    """Everything that reads replies; the lines that it says. Anything but a UserError is a traceback to the user."""
    said: list[str] = []
    with closing(Ledger(ledger)) as one, closing(ReplyStore(ledger=ledger)) as store:
        for use in (
            lambda: said.extend(verify_replies([record_file], one)),
            lambda: replies_stats([record_file], one, prices={}),
            lambda: export_ledger(one, record_file.with_name("exported.jsonl"), model="gpt-4o"),
            lambda: prune_ledger(one, recorded_in=[record_file], older_than_days=0, prices={}, delete=True),
            lambda: one.get("0" * 64),
            lambda: one.refresh_started("t"),
            lambda: store.get("0" * 64),
        ):
            try:
                use()
            except UserError as error:
                said.append(str(error))
    return said


def test_a_word_altered_in_a_recorded_reply_is_not_replayed(filled, question, config, store):
    whole = filled.record_file.read_text()
    for old, new in (
        ("because", "perhaps"),
        ('\\"stakes\\": 7', '\\"stakes\\": 8'),
        ('"model": "gpt-4o', '"model": "gpt-5o'),
    ):
        assert old in whole
        filled.record_file.write_text(whole.replace(old, new, 1))
        with pytest.raises(UserError, match=r"stage.jsonl:1: the reply was altered after it was recorded.*dvc pull"):
            ask_all([question(1)], config=config(), store=store(), what="t")
    lines = whole.splitlines()
    swapped = [json.loads(line) for line in lines]
    swapped[0]["key"], swapped[1]["key"] = swapped[1]["key"], swapped[0]["key"]
    write_jsonl(filled.record_file, swapped)
    with pytest.raises(UserError, match=":1: the reply was altered"):
        store()


def test_how_a_line_is_spelled_does_not_matter_to_its_checksum(filled):
    before = read_record_file(filled.record_file)
    rows = [json.loads(line) for line in filled.record_file.read_text().splitlines()]
    text = "\r\n".join(json.dumps(dict(reversed(row.items())), ensure_ascii=True, indent=None) for row in rows)
    filled.record_file.write_bytes(text.encode())
    assert read_record_file(filled.record_file) == before


def test_files_without_checksums_are_read_and_are_no_problem(filled, tmp_path):
    rows = [json.loads(line) for line in filled.record_file.read_text().splitlines()]
    write_jsonl(filled.record_file, [{name: value for name, value in row.items() if name != "sha256"} for row in rows])
    assert len(read_record_file(filled.record_file)) == 2
    assert verify_replies([filled.record_file], filled.ledger) == []
    shipped = sorted(DEMO.glob("*.jsonl"))
    assert len(shipped) == 8
    assert verify_replies(shipped, Ledger(tmp_path / "none")) == []


USAGE = {"prompt_tokens": 1, "completion_tokens": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"content": 7},
        {"content": ["text"]},
        {"content": "\ud83d"},
        {"model": None},
        {"refusal": {}},
        {"finish_reason": 1},
        {"usage": USAGE | {"prompt_tokens": -1}},
        {"usage": USAGE | {"completion_tokens": "2"}},
        {"usage": []},
        {"key": 7},
        {"key": "x"},
        {"key": "0\n1"},
        {"key": "\u0661"},
    ],
)
def test_a_line_with_a_part_of_another_kind_is_no_reply(change, tmp_path):
    row = {"key": "0" * 64, "model": "m", "content": CONTENT} | change
    (tmp_path / "stage.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"stage.jsonl:1: line is not a recorded reply"):
        read_record_file(tmp_path / "stage.jsonl")


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0, 10**400, "1"])
def test_a_cost_that_is_none_counts_as_unknown(cost):
    row = {"key": "0" * 64, "model": "m", "content": CONTENT, "usage": USAGE | {"cost": cost}}
    assert from_row(row).usage == Usage(1, 2)


def test_a_folder_in_the_place_of_a_record_file_is_one_line(store):
    store().record_file.mkdir()
    with pytest.raises(UserError, match="is a folder"):
        store()


@pytest.mark.parametrize("folder_mode", [0o700, 0o755, 0o777])
def test_a_ledger_is_for_its_owner_only_in_any_folder(folder_mode, filled, question, config, tmp_path):
    def modes(path):
        return {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}

    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(folder_mode)
    before = os.umask(0)
    try:
        with FaultServer() as server, closing(ReplyStore(ledger=folder / "new.sqlite")) as new:
            ask_all([question(3)], config=config(server), store=new, what="t")
            assert modes(new.ledger.path) == dict.fromkeys(("new.sqlite", "new.sqlite-wal", "new.sqlite-shm"), 0o600)
        old = folder / "old.sqlite"
        old.write_bytes(filled.ledger.path.read_bytes())
        for kind in ("", "-wal", "-shm"):
            Path(f"{old}{kind}").touch(0o666)
        with closing(Ledger(old)) as ledger:
            assert len(list(ledger.entries())) == 2
            assert {mode for name, mode in modes(old).items() if name.startswith("old")} == {0o600}
    finally:
        os.umask(before)


SQL_DAMAGE = [
    "update replies set response = 'no json'",
    "update replies set response = '[]'",
    "update replies set response = '{\"choices\": 7}'",
    "update replies set response = x'ff00'",
    "update replies set response = 7",
    "update replies set request = '{}'",
    'update replies set request = \'{"model": 7, "messages": 7}\'',
    'update replies set request = \'{"model": "m", "messages": [7]}\'',
    "update replies set sample = 'x'",
    "update replies set recorded_at = 'x'",
    "update replies set key = x'00' where key = (select min(key) from replies)",
    "update replies set key = char(27) || char(10) where key = (select min(key) from replies)",
    "update replies set response = replace(response, '\"because', '\"\\ud83d')",
    "drop table replies; create table replies (key, other)",
    "drop table replies; create view replies as select 1 as key",
    "drop table refreshes; create table refreshes (other)",
    "insert into refreshes values ('t', 'x')",
    f"update replies set response = '{'[' * 100_000}'",
]


@pytest.mark.parametrize("sql", SQL_DAMAGE)
def test_a_ledger_with_other_content_is_told_in_lines(sql, filled, question, config, store):
    with closing(sqlite3.connect(filled.ledger.path)) as connection:
        connection.executescript(sql)
    said = read_all(filled.record_file, filled.ledger.path)
    assert all("\n" not in line and line.isprintable() for line in said)
    assert said or "refreshes" in sql, "what a stage refreshes is no reply"
    with suppress(UserError):
        ask_all([question(1)], config=config(), store=store("other"), what="t")


def overwritten(whole: bytes, at: float, new: bytes) -> bytes:
    start = int(at * len(whole))
    return whole[:start] + new + whole[start + len(new) :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"not a database" * 999,
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:100],
        lambda whole: whole[:4096] + b"\xff" * (len(whole) - 4096),
        lambda whole: overwritten(whole, 0.3, b"\0" * 5000),
        lambda whole: whole.replace(b"because", b"be\xffause"),
    ],
)
def test_verify_reports_a_damaged_ledger_in_a_line_and_with_status_1(damage, filled, monkeypatch):
    monkeypatch.setenv("MUP_LEDGER", str(filled.ledger.path))
    filled.ledger.path.write_bytes(damage(filled.ledger.path.read_bytes()))
    result = CliRunner().invoke(app, ["verify", str(filled.record_file)])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    *problems, last = result.output.splitlines()
    assert problems
    assert "problem" in last
    assert all(str(filled.ledger.path) in one or "stage.jsonl" in one for one in problems)


LINE = json.dumps(to_row("0" * 64, Reply(CONTENT, None, "stop", "m", Usage(1, 2)))).encode()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(["0" * 64, "1" * 64]) | JSON,
        "model": st.just("m") | JSON,
        "content": st.just(CONTENT) | JSON,
        "finish_reason": st.just("stop") | JSON,
        "refusal": JSON,
        "usage": st.just(USAGE | {"cost": 0.1}) | st.fixed_dictionaries(dict.fromkeys(USAGE, JSON)) | JSON,
        "sha256": JSON,
    },
).map(lambda row: json.dumps(row).encode())
FILES = st.lists(ROWS | st.just(LINE) | st.binary(max_size=30), max_size=4).map(b"\n".join) | st.builds(
    overwritten, st.just(LINE + b"\n"), st.floats(0, 1), st.binary(max_size=8)
)


def check_file(folder: Path, content: bytes) -> None:
    """Reading is one line of refusal, or replies that are written and read again as they are."""
    path, again = folder / "fuzzed.jsonl", folder / "again.jsonl"
    path.write_bytes(content)
    said = verify_replies([path], Ledger(folder / "none"))
    assert all(line.isprintable() for line in said)
    replies = {}
    with suppress(UserError):
        replies = read_record_file(path)
    write_jsonl(again, [to_row(key, reply) for key, reply in replies.items()])
    assert read_record_file(again) == replies


def check_ledger(folder: Path, content: bytes) -> None:
    for old in folder.glob("fuzzed*"):
        old.unlink()
    path = folder / "fuzzed.sqlite"
    path.write_bytes(content)
    said = read_all(folder / "fuzzed.jsonl", path)
    assert all(line.isprintable() for line in said)


@pytest.mark.slow
@given(FILES)
@example(b"[" * 100_000)
@example(b'{"key": "' + b"9" * 5000 + b'"}')
@example(b"9" * 5000)
@many
def test_any_bytes_of_a_record_file_are_replies_or_one_line(tmp_path, content):
    check_file(tmp_path, content)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=40)), max_size=4),
    st.binary(max_size=200),
    st.floats(0, 1),
)
@many
def test_any_bytes_of_a_ledger_are_replies_or_one_line(filled, tmp_path, writes, other, kept):
    whole = filled.ledger.path.read_bytes()
    for at, new in writes:
        whole = overwritten(whole, at, new)
    content = whole[: int(len(whole) * kept)] if not writes else whole if kept > 0.1 else other
    (tmp_path / "fuzz").mkdir(exist_ok=True)
    check_ledger(tmp_path / "fuzz", content)
