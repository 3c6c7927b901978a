"""The ledger keeps what was paid for, gives it back as it was, and says in one line what is wrong with it."""

import json
import os
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from platformdirs import user_data_path

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.ledger import Entry, Ledger, ledger_path
from models_under_pressure.llm.reply import from_completion


def paid(key="0a", at=5.0, *, says="é", **changes):
    message = {"content": says, "refusal": None}
    response = {
        "model": "m",
        "choices": [{"finish_reason": "stop", "message": message}],
        "more": [{"\u00e9": None}, 1e-9, 2**60],
    }
    return Entry(key, at, **{"sample": 0, "request": {"model": "m", "messages": []}, "response": response} | changes)


@pytest.fixture
def ledger(tmp_path):
    with closing(Ledger(tmp_path / "new" / "ledger.sqlite")) as ledger:
        yield ledger


def sql(ledger, text):
    with closing(sqlite3.connect(ledger.path)) as connection:
        rows = connection.execute(text).fetchall()
        connection.commit()
        return rows


def told(act):
    with pytest.raises(UserError) as caught:
        act()
    return str(caught.value)


def test_what_was_paid_for_comes_back_whole_and_in_the_order_of_the_keys(ledger):
    entries = [paid("b", 7.25, sample=2), paid("a", 3, request={"z": 1, "a": "é"}), paid("c")]
    replies = [ledger.put(entry) for entry in entries]
    ledger.close()
    assert list(ledger.entries()) == sorted(entries, key=lambda entry: entry.key)
    assert replies == [ledger.get(entry.key) for entry in entries] == [from_completion(one.response) for one in entries]


def test_texts_are_kept_as_they_are_and_requests_with_one_spelling(ledger):
    ledger.put(paid(request={"z": 1, "a": "é"}))
    ((request, response),) = sql(ledger, "select request, response from replies")
    assert request == '{"a":"\\u00e9","z":1}'
    assert '"content": "é"' in response


def test_the_first_reply_of_a_key_stays_unless_it_is_replaced(ledger):
    assert ledger.put(paid(says="first")).content == "first"
    assert ledger.put(paid(says="second")).content == "first"
    assert ledger.put(paid(says="third"), replace=True).content == "third"
    assert ledger.get("0a").content == "third"
    assert len(list(ledger.entries())) == 1


def test_a_reply_is_as_old_as_it_was_recorded(ledger):
    ledger.put(paid(at=5.0))
    assert ledger.get("0a", since=5.0) == ledger.get("0a") is not None
    assert ledger.get("0a", since=5.5) is None
    assert ledger.get("0b") is None
    ledger.put(paid("0b", at=0.5))
    assert ledger.get("0b") is not None


def test_looking_things_up_makes_no_file(ledger):
    assert (ledger.get("0a"), list(ledger.entries()), ledger.problems(), ledger.refresh_started("t")) == (
        None,
        [],
        [],
        None,
    )
    assert not ledger.exists
    assert not ledger.path.parent.exists()
    ledger.put(paid())
    assert ledger.exists
    assert Ledger(ledger.path).exists


def test_two_that_use_one_file_see_each_others_replies(ledger):
    with closing(Ledger(ledger.path)) as other:
        ledger.put(paid("a"))
        other.put(paid("b"))
        assert [entry.key for entry in ledger.entries()] == [entry.key for entry in other.entries()] == ["a", "b"]


def test_what_is_deleted_is_gone_with_its_space_and_nothing_else_is(ledger):
    for key in ("a", "b", "c"):
        ledger.put(paid(key, says="long " * 20_000))
    ledger.connection().execute("pragma wal_checkpoint(truncate)")
    before = ledger.path.stat().st_size
    ledger.delete(iter(["a", "c", "none"]))
    ledger.close()
    assert [entry.key for entry in ledger.entries()] == ["b"]
    assert ledger.path.stat().st_size < before / 2


def test_a_refresh_begins_once_and_ends_by_itself(ledger):
    before = time.time()
    started = ledger.begin_refresh("one")
    assert before <= started <= time.time()
    assert ledger.begin_refresh("one") == started == ledger.refresh_started("one")
    assert ledger.refresh_started("two") is None
    ledger.begin_refresh("two")
    ledger.end_refresh("one")
    assert ledger.refresh_started("one") is None
    assert ledger.refresh_started("two") is not None
    assert ledger.begin_refresh("one") > started


def test_the_ledger_is_where_the_variable_says_or_among_the_data_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("MUP_LEDGER", str(tmp_path / "x"))
    assert ledger_path() == tmp_path / "x"
    for unset in (lambda: monkeypatch.setenv("MUP_LEDGER", ""), lambda: monkeypatch.delenv("MUP_LEDGER")):
        unset()
        assert ledger_path() == user_data_path("models-under-pressure") / "ledger.sqlite"


def test_what_is_wrong_with_each_reply_is_one_line(ledger):
    for key in ("a", "b", "c", "d"):
        ledger.put(paid(key, says=key))
    sql(ledger, "update replies set response = 'no json' where key = 'b'")
    sql(ledger, "update replies set sample = 'x' where key = 'd'")
    said = {"a": None, "c": "is odd"}
    assert ledger.problems(check=lambda entry: said[entry.key]) == [
        "b: a reply cannot be read",
        "c: is odd",
        "d: a reply cannot be read",
    ]
    assert ledger.problems() == ["b: a reply cannot be read", "d: a reply cannot be read"]


@pytest.mark.parametrize(("rows", "more"), [(1, ""), (2, ", and 1 problems more"), (3, ", and 2 problems more")])
def test_a_damaged_file_is_told_in_one_line_with_the_number_of_its_problems(rows, more, ledger):
    ledger.path.parent.mkdir()
    with closing(sqlite3.connect(ledger.path)) as connection:
        connection.execute("create table refreshes (what text primary key, started real)")
        connection.executemany("insert into refreshes values (?, null)", [(str(row),) for row in range(rows)])
        connection.execute("pragma writable_schema = on")
        connection.execute("update sqlite_master set sql = replace(sql, 'real', 'real not null')")
        connection.commit()
    assert ledger.problems(check=lambda entry: "not reached") == [f"damaged, NULL value in refreshes.started{more}"]


USE = (
    "Remedy: see that the disk has room and the file can be written (MUP_LEDGER names another); a damaged one must be "
    "moved away: `mup replies verify` tells."
)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("[]", "ValueError: no JSON object"),
        ("{", "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ],
)
def test_a_reply_that_is_no_object_is_told_in_one_line_by_whoever_reads_it(response, reason, ledger):
    ledger.put(paid())
    sql(ledger, f"update replies set response = '{response}'")
    line = f"{ledger.path}: the ledger of paid replies cannot be used ({reason}). {USE}"
    assert told(lambda: ledger.get("0a")) == line
    assert told(lambda: list(ledger.entries())) == line


@pytest.mark.parametrize(
    "use",
    [
        lambda ledger: ledger.get("0a"),
        lambda ledger: ledger.put(paid()),
        lambda ledger: list(ledger.entries()),
        lambda ledger: ledger.delete(["0a"]),
    ],
)
def test_a_file_without_the_table_is_told_in_one_line_whatever_is_done(use, ledger):
    ledger.connection().execute("drop table replies")
    assert told(lambda: use(ledger)) == (
        f"{ledger.path}: the ledger of paid replies cannot be used (OperationalError: no such table: replies). {USE}"
    )
    assert ledger.problems() == [
        "the ledger of paid replies cannot be used (OperationalError: no such table: replies)."
    ]


@pytest.mark.parametrize(
    "use",
    [
        lambda ledger: ledger.begin_refresh("t"),
        lambda ledger: ledger.refresh_started("t"),
        lambda ledger: ledger.end_refresh("t"),
    ],
)
def test_a_file_without_the_refreshes_is_told_in_one_line(use, ledger):
    ledger.connection().execute("drop table refreshes")
    assert "cannot be used (OperationalError: no such table: refreshes)" in told(lambda: use(ledger))


def test_a_row_of_other_types_is_told_in_one_line(ledger):
    ledger.put(paid())
    sql(ledger, "update replies set sample = 'x'")
    assert "cannot be used (TypeError: columns are of other types)" in told(lambda: list(ledger.entries()))


def modes(path):
    return {one.name: oct(one.stat().st_mode & 0o777) for one in path.iterdir()}


def test_a_new_ledger_and_its_folder_are_for_their_owner_only(tmp_path):
    before = os.umask(0)
    try:
        with closing(Ledger(tmp_path / "new" / "folder" / "ledger")) as ledger:
            ledger.put(paid())
            assert modes(ledger.path.parent) == dict.fromkeys(("ledger", "ledger-wal", "ledger-shm"), "0o600")
            assert modes(tmp_path / "new") == {"folder": "0o700"}
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o677])
def test_a_ledger_that_others_could_read_is_closed_to_them(mode, ledger):
    ledger.put(paid())
    ledger.close()
    for kind in ("", "-wal", "-shm"):
        path = ledger.path.with_name(f"{ledger.path.name}{kind}")
        path.touch()
        path.chmod(mode)
    assert len(list(ledger.entries())) == 1
    assert set(modes(ledger.path.parent).values()) == {"0o600"}


def test_a_file_that_cannot_be_opened_is_told_in_one_line(ledger):
    ledger.path.parent.mkdir()
    ledger.path.write_text("no database " * 1000)
    assert told(ledger.connection) == (
        f"{ledger.path}: the ledger of paid replies cannot be opened (file is not a database). Remedy: name a file of "
        "your own, on a local disk, in MUP_LEDGER; move a damaged ledger away."
    )
    assert json.loads(json.dumps(ledger.problems())) == [
        "the ledger of paid replies cannot be opened (file is not a database)."
    ]


def test_a_new_ledger_waits_for_a_process_that_is_making_it(tmp_path):
    path = tmp_path / "ledger.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")  # as a process that writes the tables does: SQLite tells others at once to go away
    done = threading.Timer(0.2, other.close)
    done.start()
    assert Ledger(path).begin_refresh("stage") > 0
    done.join()
