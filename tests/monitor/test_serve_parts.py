"""The parts of `mup serve`: text as it comes, turns in the engine, the log, what is asked and refused."""

import json
import os
import re
import threading
from itertools import pairwise
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.monitor.log import Log
from models_under_pressure.monitor.running import Outcome
from models_under_pressure.monitor.serving.asked import ChatRequest, chat_of, read_asked
from models_under_pressure.monitor.serving.engine import BusyError, Engine, Job
from models_under_pressure.monitor.serving.metrics import Metrics
from models_under_pressure.monitor.serving.refusals import RefusalError
from models_under_pressure.monitor.serving.spoken import Spoken

CALL = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
WORDS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", CALL, "<tool_call>", "</tool_call>", "<", "th", " ", "\n", "ab", "stop", "st"]
    )
    | st.text(max_size=3),
    max_size=8,
)


def merged(pieces):
    """Pieces, neighbours of one kind joined, calls apart."""
    found = []
    for kind, text in pieces:
        if found and kind == found[-1][0] != "call":
            found[-1] = (kind, found[-1][1] + text)
        else:
            found.append((kind, text))
    return found


@given(WORDS, st.lists(st.integers(0, 60), max_size=6), st.booleans(), st.sampled_from([(), ("stop",), ("b", "<th")]))
def test_text_means_the_same_however_it_is_cut(words, cuts, has_tools, stops):
    text = "".join(words)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    in_parts, at_once = (Spoken(stops, has_tools=has_tools) for _ in range(2))
    pieces = []
    for start, stop in pairwise(places):
        pieces += in_parts.add(text[start:stop])
    pieces += in_parts.close()
    assert merged(pieces) == merged(at_once.add(text) + at_once.close())
    said = [piece for _, piece in pieces]
    first = min((place for place in map(text.find, stops) if place >= 0), default=len(text))
    assert in_parts.text == text[:first]
    bare, told = (re.sub(r"</?(think|tool_call)>|\s", "", one) for one in (text[:first], "".join(said)))
    assert told == bare


def test_only_what_may_be_a_mark_is_held_back():
    spoken = Spoken(("stop",), has_tools=True)
    assert spoken.add("a <") == [("content", "a ")]
    assert spoken.add("b st") == [("content", "<b ")]
    assert spoken.add("art <tool_c") == [("content", "start ")]
    assert spoken.add('all>{"name": "f"}</tool_call>!') == [("call", '{"name": "f"}'), ("content", "!")]


@pytest.mark.parametrize("body", ["no JSON", "[1]", '{"name": 3}', '{"name": "f", "arguments": [1]}', '{"name": ""}'])
def test_a_call_that_names_no_function_stays_text(body):
    text = f"<tool_call>{body}</tool_call>"
    spoken = Spoken(has_tools=True)
    assert merged(spoken.add(text) + spoken.close()) == [("content", text)]


def counting(count, job_log, name, gate=None):
    def work(_job):
        for _ in range(count):
            if gate is not None:
                gate.wait()
            job_log.append(name)
            yield name

    return work


def ended(queue, count):
    """Wait until so many jobs have ended."""
    while count:
        count -= queue.get(timeout=10) is None


def test_requests_take_turns_step_by_step():
    engine, steps, told, gate = Engine(at_once=2, waiting=8), [], SimpleQueue(), threading.Event()
    for name, count in (("a", 3), ("b", 2), ("c", 2)):
        engine.submit(Job(counting(count, steps, name, gate), told.put))
    engine.start()
    gate.set()
    ended(told, 3)
    engine.close()
    assert steps == ["a", "b", "a", "b", "a", "c", "c"]


def test_more_requests_than_may_wait_are_told_when_to_come_again():
    engine = Engine(at_once=1, waiting=2)
    jobs = [Job(counting(1, [], "x"), lambda _: None) for _ in range(4)]
    for job in jobs[:3]:
        engine.submit(job)
    with pytest.raises(BusyError) as caught:
        engine.submit(jobs[3])
    assert caught.value.wait >= 1
    jobs[0].leave()
    engine.submit(jobs[3])
    engine.start()
    engine.close()
    with pytest.raises(BusyError):
        engine.submit(Job(counting(1, [], "x"), lambda _: None))


def test_a_request_that_fails_ends_alone(capsys):
    engine, told, steps = Engine(at_once=2, waiting=8), SimpleQueue(), []

    def broken(_job):
        raise MemoryError
        yield

    events = []
    engine.submit(Job(broken, events.append))
    engine.submit(Job(counting(2, steps, "good"), told.put))
    engine.start()
    ended(told, 1)
    engine.close()
    assert steps == ["good", "good"]
    assert isinstance(events[0], MemoryError)
    assert "MemoryError" in capsys.readouterr().err


def outcome(name):
    return Outcome(Record(name, "Is there a fire?"), "length", {"a": 1.0}, {"a": 0.7}, (), 3, {"a": "00"})


def names(path):
    return [json.loads(line)["ids"] for line in path.read_text().splitlines()]


def test_a_torn_last_line_of_the_log_is_removed_and_said_so(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    log = Log(path)
    log.add(outcome("one"))
    log.add(outcome("two"))
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    log = Log(path)
    assert "torn off by a crash" in capsys.readouterr().err
    log.add(outcome("three"))
    log.close()
    assert names(path) == ["one", "three"]
    Log(path).close()
    assert capsys.readouterr().err == ""


def test_a_log_of_one_long_torn_line_begins_anew(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"x" * 200_000)
    log = Log(path)
    log.add(outcome("one"))
    log.close()
    assert names(path) == ["one"]


def test_a_log_has_one_writer(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    with pytest.raises(UserError, match="another process"):
        Log(tmp_path / "log.jsonl")
    log.close()


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    log = Log(path)
    log.add(outcome("one"))

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            log.add(outcome("two"))
    log.add(outcome("three"))
    log.close()
    assert names(path) == ["one", "three"]


def asked(**fields):
    return read_asked(ChatRequest, {"model": "m", "messages": [{"role": "user", "content": "a"}], **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n": 2}, "n: "),
        ({"logit_bias": {"1": 2}}, "logit_bias: is not supported"),
        ({"logprobs": True}, "logprobs: "),
        ({"frequency_penalty": 0.5}, "frequency_penalty: "),
        ({"temperature": 3}, "temperature: "),
        ({"temperature": "hot"}, "temperature: "),
        ({"top_p": 0}, "top_p: "),
        ({"max_tokens": 0}, "max_tokens: "),
        ({"max_tokens": 9}, "max_tokens: the server writes 8 at most"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "differ"),
        ({"stop": ["a", ""]}, "stop: "),
        ({"stop": list("abcde")}, "stop: "),
        ({"seed": 2**63}, "seed: "),
        ({"messages": []}, "messages: "),
        ({"messages": "hello"}, "messages: "),
        ({"tool_choice": "required"}, "tool_choice: "),
        ({"response_format": {"type": "json_object"}}, "response_format.type: "),
    ],
)
def test_what_would_have_no_effect_is_refused_by_name(fields, message):
    with pytest.raises(RefusalError, match=re.escape(message)) as caught:
        chat_of(asked(**fields), most=8)
    assert caught.value.status == 400
    assert caught.value.row["error"]["type"] == "invalid_request_error"


def test_what_says_the_same_as_its_absence_is_accepted():
    chat = chat_of(
        asked(
            n=1,
            presence_penalty=0,
            user="me",
            stop=None,
            seed=None,
            logprobs=False,
            temperature=0,
            max_completion_tokens=5,
            response_format={"type": "text"},
        ),
        most=8,
    )
    assert (chat.longest, chat.stops, dict(chat.sampling)) == (5, (), {})
    assert chat_of(asked(stop="x"), most=8).stops == ("x",)


def test_names_of_probes_are_escaped_in_the_metrics():
    text = Metrics(['a"b\\c\nd']).text(running=1, waiting=2)
    assert 'mup_flagged_total{probe="a\\"b\\\\c\\nd"} 0\n' in text
    assert text.endswith("mup_waiting 2\n")
