"""Replies are looked up in their order of places; a record file holds what a run used and nothing that was altered."""

import json
import time
from contextlib import closing

import pytest

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.llm.ledger import Entry, ledger_path
from models_under_pressure.llm.reply import Reply, Usage, from_row, to_row
from models_under_pressure.llm.store import ReplyStore, keyed_request, read_record_file, record_lines, request_key

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
KEY = request_key(BODY, sample=0)


def completion(says):
    return {"model": "m", "choices": [{"finish_reason": "stop", "message": {"content": says, "refusal": None}}]}


def reply(says):
    return Reply(says, None, "stop", "m", None)


@pytest.fixture
def places(tmp_path):
    """Files and a ledger that hold the replies given for `KEY`, or others by key."""
    opened = []

    def places(*, own=None, shipped=(), ledger=None, name="stage"):
        def filled(path, said):
            replies = said if isinstance(said, dict) else {KEY: said}
            write_jsonl(path, [to_row(key, reply(one)) for key, one in replies.items()])
            return path

        record_file = tmp_path / f"{name}.jsonl"
        if own:
            filled(record_file, own)
        others = [filled(tmp_path / f"shipped{number}.jsonl", one) for number, one in enumerate(shipped)]
        store = ReplyStore(record_file=record_file, shipped=others, ledger=tmp_path / "ledger.sqlite")
        opened.append(store)
        if ledger:
            store.ledger.put(Entry(KEY, time.time(), 0, keyed_request(BODY), completion(ledger)))
        return store

    yield places
    for store in opened:
        store.close()


def told(act):
    with pytest.raises(UserError) as caught:
        act()
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"own": "own", "shipped": ["one", "two"], "ledger": "paid"}, "own"),
        ({"shipped": ["one", "two"], "ledger": "paid"}, "one"),
        ({"own": {"0": "other"}, "shipped": [{"1": "other"}, "two"], "ledger": "paid"}, "two"),
        ({"own": {"0": "other"}, "ledger": "paid"}, "paid"),
        ({"own": {"0": "other"}}, None),
    ],
)
def test_the_record_file_goes_before_shipped_files_and_these_before_the_ledger(given, found, places):
    assert places(**given).get(KEY) == (reply(found) if found else None)


def test_a_reply_that_is_put_is_kept_under_the_key_of_its_request(places):
    store = places()
    before = time.time()
    assert store.put(BODY | {"user": "nobody", "temperature": 1}, completion("new"), sample=3) == reply("new")
    (entry,) = store.ledger.entries()
    request = BODY | {"temperature": 1.0}
    key = request_key(request, sample=3)
    assert before <= entry.recorded_at <= time.time()
    assert entry == Entry(key, entry.recorded_at, 3, request, completion("new"))
    assert store.get(key) == reply("new")
    assert store.put(BODY | {"temperature": 1}, completion("newer"), sample=3) == reply("new")


def test_a_record_file_holds_the_replies_that_were_used_by_their_keys(places):
    store = places(own={"c": "3", "b": "2", "a": "1"})
    store.get("b")
    store.use("a")
    store.get("none")
    store.put(BODY, completion("new"), sample=0)
    store.write_record_file()
    used = {"a": reply("1"), "b": reply("2"), KEY: reply("new")}
    assert list(read_record_file(store.record_file).items()) == sorted(used.items())


def test_the_unused_lines_of_a_record_file_stay_if_they_are_to(places):
    store = places(own={"c": "3", "a": "1"}, shipped=[{"b": "2"}])
    store.put(BODY, completion("new"), sample=0)
    store.write_record_file(keep_unused=True)
    kept = {"a": reply("1"), "c": reply("3"), KEY: reply("new")}
    assert list(read_record_file(store.record_file).items()) == sorted(kept.items())


def test_a_store_without_a_record_file_writes_none(tmp_path):
    with (
        closing(ReplyStore(ledger=tmp_path / "ledger")) as store,
        pytest.raises(AssertionError, match="^the store has no record file"),
    ):
        store.write_record_file()


def test_a_refresh_uses_what_it_recorded_and_nothing_older(places):
    store = places(own="own", shipped=["one"], ledger="paid")
    assert store.get(KEY, fresh=True) is None
    assert store.put(BODY, completion("new"), sample=0, fresh=True) == reply("new")
    assert store.get(KEY) == store.get(KEY, fresh=True) == reply("new")
    store.write_record_file()
    assert read_record_file(store.record_file) == {KEY: reply("new")}


def test_a_refresh_does_not_take_what_was_paid_for_before_it_began(places):
    store = places(ledger="paid")
    time.sleep(0.002)
    store.put(BODY, completion("other"), sample=1, fresh=True)
    assert store.get(KEY, fresh=True) is None
    assert store.get(KEY) == reply("paid")


def test_what_is_asked_for_the_first_time_begins_no_refresh(places):
    store = places()
    store.put(BODY, completion("new"), sample=0)
    assert store.ledger.refresh_started(str(store.record_file)) is None
    assert store.get(KEY, fresh=True) is None


def test_the_ledger_is_the_one_that_is_given_or_that_of_the_user(tmp_path):
    assert ReplyStore(ledger=tmp_path / "given").ledger.path == tmp_path / "given"
    assert ReplyStore().ledger.path == ledger_path()


def test_a_refresh_that_was_cut_off_is_taken_up_by_the_next_run_of_the_same_stage(places):
    places(own="own", ledger="paid").put(BODY, completion("new"), sample=0, fresh=True)
    assert places(name="another").get(KEY, fresh=True) is None
    again = places()
    assert again.get(KEY, fresh=True) == again.get(KEY) == reply("new")
    again.write_record_file()
    assert read_record_file(again.record_file) == {KEY: reply("new")}
    assert again.get(KEY, fresh=True) is None, "the refresh is complete"
    assert places().get(KEY, fresh=True) is None


def test_a_second_refresh_of_one_process_begins_anew(places):
    store = places()
    store.put(BODY, completion("new"), sample=0, fresh=True)
    store.write_record_file()
    time.sleep(0.002)
    store.put(BODY, completion("newer"), sample=0, fresh=True)
    store.put(BODY, completion("other"), sample=1, fresh=True)
    assert store.get(KEY, fresh=True) == reply("newer")
    assert store.ledger.refresh_started(str(store.record_file)) is not None


def test_a_run_that_refreshed_nothing_leaves_the_refresh_of_another_under_way(places):
    places().put(BODY, completion("new"), sample=0, fresh=True)
    store = places()
    store.get(KEY)
    store.write_record_file()
    assert places().get(KEY, fresh=True) == reply("new")


def test_the_lines_of_a_record_file_come_with_their_numbers_and_a_missing_file_has_none(tmp_path):
    path = tmp_path / "stage.jsonl"
    assert list(record_lines(path)) == []
    rows = [to_row(key, reply("é")) for key in ("b", "a")]
    write_jsonl(path, rows)
    first, second = path.read_text("utf-8").splitlines()
    assert list(record_lines(path)) == [(1, first, "b", reply("é")), (2, second, "a", reply("é"))]
    assert list(read_record_file(path)) == ["b", "a"]


LINE = to_row("0" * 64, reply("x"))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ([], "line is not a recorded reply."),
        ({**LINE, "key": "G"}, "line is not a recorded reply."),
        ({**LINE, "key": "0" * 65}, "line is not a recorded reply."),
        ({**LINE, "sha256": "0"}, "the reply was altered after it was recorded: its sha256 does not fit."),
        ({**LINE, "content": "y"}, "the reply was altered after it was recorded: its sha256 does not fit."),
        ({**LINE, "note": "y"}, "the reply was altered after it was recorded: its sha256 does not fit."),
        (LINE, f"key {'0' * 64} occurs twice."),
    ],
)
def test_a_line_that_is_no_reply_is_told_in_one_line(row, problem, tmp_path):
    path = tmp_path / "stage.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n{json.dumps(row)}\n")
    assert told(lambda: read_record_file(path)) == (
        f"{path}:2: {problem} Remedy: restore the file (git, `dvc pull`) or delete this line."
    )


def test_a_folder_in_the_place_of_a_record_file_is_told_in_one_line(tmp_path):
    assert told(lambda: read_record_file(tmp_path)) == (
        f"{tmp_path}: is a folder. Remedy: a record file is to stand here; move it away."
    )


def test_a_line_has_the_parts_that_the_reply_has():
    assert to_row("k", Reply(None, None, None, "m", None)).keys() == {"key", "model", "content", "sha256"}
    assert to_row("k", Reply(None, None, None, "m", Usage(1, 2)))["usage"].keys() == {
        "prompt_tokens",
        "completion_tokens",
    }
    whole = Reply("text", "no", "stop", "m", Usage(1, 2, 0.5))
    row = to_row("k", whole)
    assert list(row) == ["key", "model", "finish_reason", "usage", "refusal", "content", "sha256"]
    assert row.pop("sha256") != to_row("l", whole)["sha256"]
    assert row == {
        "key": "k",
        "model": "m",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.5},
        "refusal": "no",
        "content": "text",
    }
    assert from_row(row) == whole


@pytest.mark.parametrize("part", ["content", "model"])
def test_a_line_without_a_part_that_every_line_has_is_no_reply(part):
    with pytest.raises(KeyError):
        from_row({name: value for name, value in LINE.items() if name != part})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content": 7}, "a part is no text"),
        ({"model": None}, "a part is no text"),
        ({"refusal": []}, "a part is no text"),
        ({"finish_reason": 1}, "a part is no text"),
        ({"content": "\ud800"}, "a text cannot be encoded"),
        ({"model": "\ud800"}, "a text cannot be encoded"),
        ({"refusal": "\ud800"}, "a text cannot be encoded"),
        ({"finish_reason": "\ud800"}, "a text cannot be encoded"),
        ({"usage": {"prompt_tokens": 1}}, "usage is no count"),
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 2**53 + 1}}, "usage is no count"),
    ],
)
def test_a_line_with_a_part_of_another_kind_says_which(change, reason):
    with pytest.raises(TypeError, match=f"^{reason}$"):
        from_row(LINE | change)
