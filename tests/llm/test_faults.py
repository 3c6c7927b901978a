import sqlite3
import threading
import time
from collections import Counter

import pytest
from fault_server import (
    FILTERED,
    HTML,
    NOT_JSON_REPLY,
    REFUSAL,
    ROUTER_ERROR,
    TRUNCATED,
    Act,
    FaultServer,
    answer,
    error,
)

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Answer, Failure
from models_under_pressure.llm.session import Session


def once(act):
    """Fail the first time only."""
    return lambda row, attempt: act if attempt == 1 else Act()


def always(act):
    return lambda row, attempt: act


@pytest.mark.parametrize(
    "fault",
    [
        error(429, retry_after="0.05"),
        error(429, retry_after_ms="30"),
        error(408),
        error(409),
        error(500),
        Act(502, {}, b"<html>bad gateway</html>"),
        Act(cut="before"),
        Act(cut="inside"),
        ROUTER_ERROR,
        HTML,
        NOT_JSON_REPLY,
        answer(stakes=11),
        answer(surplus=1),
        Act(body=b'{"choices": []}'),
    ],
    ids=lambda act: f"{act.status} {act.cut} {(act.body or b'')[:25]!r}",
)
def test_a_fault_that_passes_is_overcome(fault, question, config, store):
    with FaultServer(once(fault)) as server:
        (outcome,) = ask_all([question(1)], config=config(server), store=store(), what="t")
        assert isinstance(outcome, Answer)
        assert outcome.value.stakes == 7
        assert outcome.model == "gpt-4o-2024-08-06"
        assert server.rows == {"1": 2}


def test_numbers_as_strings_or_floats_are_taken_without_asking_again(question, config, store):
    with FaultServer(lambda row, _: answer(stakes={"1": "7", "2": 7.0}[row])) as server:
        outcomes = ask_all([question(1), question(2)], config=config(server), store=store(), what="t")
        assert [outcome.value.stakes for outcome in outcomes] == [7, 7]
        assert server.rows == {"1": 1, "2": 1}


@pytest.mark.parametrize(
    ("act", "kind", "requests"),
    [
        (REFUSAL, "refusal", 1),
        (TRUNCATED, "truncated", 1),
        (FILTERED, "content_filter", 1),
        (NOT_JSON_REPLY, "invalid", 3),
        (answer(stakes=11), "invalid", 3),
        (error(400), "rejected", 1),
        (error(403), "rejected", 1),
        (error(500), "transport", 3),
        (error(429, retry_after="300"), "transport", 1),
        (Act(cut="before"), "transport", 3),
        (Act(delay=0.5), "timeout", 3),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_every_way_to_get_no_answer_is_its_own_outcome(act, kind, requests, question, config, store):
    with FaultServer(always(act)) as server:
        patience = 0.2 if kind == "timeout" else 60
        (outcome,) = ask_all(
            [question(1)], config=config(server, retries=2, request_timeout=patience), store=store(), what="t"
        )
        assert isinstance(outcome, Failure)
        assert (outcome.record_id, outcome.kind) == ("1", kind)
        assert server.rows["1"] == requests


def test_recorded_failures_replay_as_the_same_failures_without_a_request(question, config, store):
    acts = {"1": REFUSAL, "2": TRUNCATED, "3": FILTERED, "4": NOT_JSON_REPLY, "5": answer(stakes=0), "6": Act()}
    asks = [question(row) for row in acts]
    with FaultServer(lambda row, _: acts[row]) as server:
        recorded = ask_all(asks, config=config(server), store=store(), what="t")
        paid = len(server.seen)
        assert ask_all(asks, config=config(server), store=store(), what="t") == recorded
        assert len(server.seen) == paid
    assert ask_all(asks, config=config(), store=store(), what="t") == recorded
    assert [getattr(outcome, "kind", "answer") for outcome in recorded] == [
        "refusal",
        "truncated",
        "content_filter",
        "invalid",
        "invalid",
        "answer",
    ]
    assert recorded[0].detail == "I cannot help with that."
    assert recorded[4].detail == "stakes: Input should be greater than or equal to 1"


def test_an_answer_that_trickles_for_ever_ends_at_the_deadline(question, config, store):
    with FaultServer(always(Act(trickle=20))) as server:
        start = time.monotonic()
        (outcome,) = ask_all([question(1)], config=config(server, deadline=0.4), store=store(), what="t")
        assert outcome.kind == "timeout"
        assert time.monotonic() - start < 15


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (error(401), "refuses the API key"),
        (error(402), "no credit"),
        (error(429, code="insufficient_quota"), "no credit"),
        (error(404), "does not know the model"),
    ],
)
def test_a_fault_that_would_meet_every_question_stops_the_run_at_once(act, message, question, config, store):
    with FaultServer(always(act), latency=0.02) as server:
        start = time.monotonic()
        with pytest.raises(UserError, match=message):
            ask_all([question(i) for i in range(200)], config=config(server), store=store(), what="t")
        assert time.monotonic() - start < 20, "no retries, no waiting"
        assert len(server.seen) <= 16


def test_a_stop_waits_for_what_is_paid_for_and_records_it(question, config, store, monkeypatch):
    others_asked, stopped = threading.Barrier(4, timeout=50), threading.Event()
    stop = Session.stop
    monkeypatch.setattr(Session, "stop", lambda *args: (stop(*args), stopped.set()))

    def plan(row, _):
        others_asked.wait()
        if row == "0":
            return Act(401, {}, b"{}")
        stopped.wait(timeout=50)
        return Act(delay=0.1)

    with FaultServer(plan) as server:
        with pytest.raises(UserError, match="3 of 50 questions are answered and recorded"):
            ask_all([question(i) for i in range(50)], config=config(server, concurrency=4), store=store(), what="t")
        assert server.rows == {"0": 1, "1": 1, "2": 1, "3": 1}
        server.plan = always(Act())
        assert len(ask_all([question(i) for i in range(50)], config=config(server), store=store(), what="t")) == 50
        assert server.rows == Counter({str(i): 1 for i in range(50)}) + Counter({"0": 1})


@pytest.mark.parametrize(
    "broken", [sqlite3.OperationalError("disk is full"), OSError("read-only"), RuntimeError("defect")]
)
def test_a_reply_that_cannot_be_recorded_stops_the_run_and_is_not_paid_again(broken, question, config, store):
    def fail(entry, *, replace=False):
        raise broken

    with FaultServer(latency=0.02) as server:
        one = store()
        one.ledger.put = fail
        with pytest.raises(RuntimeError if isinstance(broken, RuntimeError) else UserError, match=str(broken)):
            ask_all([question(i) for i in range(100)], config=config(server, concurrency=4), store=one, what="t")
        assert len(server.seen) <= 4


def test_a_ledger_that_cannot_be_opened_is_one_clear_error(question, config, store, tmp_path):
    (tmp_path / "ledger").write_bytes(b"not a database" * 999)
    with FaultServer() as server:
        with pytest.raises(UserError, match="cannot be opened"):
            ask_all([question(1)], config=config(server), store=store(ledger=tmp_path / "ledger"), what="t")
        assert not server.seen


def test_a_dead_endpoint_breaks_the_circuit(question, config, store):
    with FaultServer() as server:
        dead = config(server, retries=1, concurrency=4)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"the last 5 questions all failed \(transport\)"):
        ask_all([question(i) for i in range(10_000)], config=dead, store=store(), what="t")
    assert time.monotonic() - start < 60


def test_a_model_that_rejects_everything_breaks_the_circuit_but_single_rejections_do_not(question, config, store):
    with (
        FaultServer(always(error(400))) as server,
        pytest.raises(UserError, match="first 5 questions were all rejected"),
    ):
        ask_all([question(i) for i in range(500)], config=config(server, concurrency=1), store=store(), what="t")
    with FaultServer(lambda row, _: error(400) if int(row) >= 3 else Act()) as server:
        outcomes = ask_all([question(i) for i in range(60)], config=config(server), store=store(), what="t")
        assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 3
        assert {outcome.kind for outcome in outcomes if isinstance(outcome, Failure)} == {"rejected"}


def fault_of(row):
    """20 % 429, 5 % 500, 5 % cut connections, 5 % invalid JSON, 2 % refusals."""
    share = int(row) * 37 % 100
    if share < 20:
        return "429"
    for limit, name in ((25, "500"), (28, "cut before"), (30, "cut inside"), (35, "invalid"), (37, "refusal")):
        if share < limit:
            return name
    return "none"


@pytest.mark.slow
def test_hundreds_of_questions_over_a_faulty_endpoint(question, config, store):
    acts = {
        "429": error(429, retry_after="0.1"),
        "500": error(500),
        "cut before": Act(cut="before"),
        "cut inside": Act(cut="inside"),
        "invalid": NOT_JSON_REPLY,
        "none": Act(),
    }

    def plan(row, attempt):
        fault = fault_of(row)
        return REFUSAL if fault == "refusal" else acts[fault] if attempt == 1 else Act()

    asks = [question(i) for i in range(200)]
    with FaultServer(plan, latency=0.02) as server:
        outcomes = ask_all(asks, config=config(server, concurrency=12), store=store(), what="t")
        assert server.peak <= 12
        failed = {o.record_id: o.kind for o in outcomes if isinstance(o, Failure)}
        assert failed == {str(i): "refusal" for i in range(200) if fault_of(i) == "refusal"}
        assert len(failed) == 4
        expected = {str(i): 1 if fault_of(i) in ("none", "refusal") else 2 for i in range(200)}
        assert server.rows == expected
        again = store()
        assert ask_all(asks, config=config(server), store=again, what="t") == outcomes
        assert server.rows == expected
    again.write_record_file()
    assert ask_all(asks, config=config(), store=store(ledger=again.record_file.with_name("none")), what="t") == outcomes
