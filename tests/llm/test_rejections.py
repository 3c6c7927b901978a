"""What endpoints refuse, when they want to be asked again, and networks that cannot be used."""

import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Annotated, Literal

import pytest
from fault_server import GOOD, REFUSAL, Act, FaultServer, error, failing, says
from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Answer, Ask, Failure
from models_under_pressure.llm.bounds import BOUNDS

OBJECT = json.dumps(GOOD)
DRAFT = json.dumps({"explanation": "a draft", "stakes": 2})


REJECTED = {
    "OpenAI": (400, {"error": {"message": "Unsupported value: 'temperature'", "code": "unsupported_value"}}),
    "plain error": (400, {"error": "unsupported value: temperature"}),
    "FastAPI": (422, {"detail": [{"loc": ["body", "temperature"], "msg": "unsupported"}]}),
    "vLLM": (400, {"object": "error", "message": "temperature is unsupported", "code": 400}),
    "text": (403, b"temperature is unsupported for you"),
    "host behind OpenRouter": (
        400,
        {
            "error": {
                "message": "Provider returned error",
                "metadata": {"raw": '{"error":{"message":"bad temperature"}}'},
            }
        },
    ),
    "hostile": (400, {"error": {"message": "\x1b[31mno\n\ntemperature \u202e\ud83d"}}),
}


@pytest.mark.parametrize(("status", "body"), REJECTED.values(), ids=REJECTED)
def test_a_rejection_is_told_in_the_words_of_the_server(status, body, question, config, store, asked):
    outcome, requests = asked(failing(status, body), replays=False)
    assert (outcome.kind, requests) == ("rejected", 1)
    assert outcome.detail.startswith(f"HTTP {status}: ")
    assert "temperature" in outcome.detail
    assert outcome.detail.isprintable()
    with FaultServer(lambda row, _: failing(status, body)) as server:
        with pytest.raises(UserError, match="first 5 questions were all rejected: HTTP .*temperature"):
            ask_all([question(i) for i in range(9)], config=config(server, concurrency=1), store=store(), what="t")
        assert len(server.seen) == 5


@pytest.mark.parametrize(
    "act",
    [
        failing(413, b"<html>too large</html>"),
        error(400, "context_length_exceeded"),
        error(400, "string_above_max_length"),
    ],
)
def test_questions_that_are_too_long_do_not_stop_the_others(act, question, config, store):
    with FaultServer(lambda row, _: act if int(row) < 8 else Act()) as server:
        outcomes = ask_all(
            [question(i) for i in range(9)], config=config(server, concurrency=1), store=store(), what="t"
        )
    assert [getattr(one, "kind", "answer") for one in outcomes] == ["rejected"] * 8 + ["answer"]


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (401, "User not found", "valid key"),
        (402, "This request requires more credits", "add credit"),
        (404, "No endpoints found that can handle the requested parameters", "strict JSON schemas"),
        (404, "The model `gpt-9` does not exist", "llm.model"),
    ],
)
def test_what_stops_the_run_says_the_words_of_the_server_and_a_remedy_that_fits(
    status, said, remedy, question, config, store
):
    body = {"error": {"message": f"{said}.", "code": status}}
    for act in (failing(status, body), failing(200, body)):
        with FaultServer(lambda row, _, act=act: act) as server:
            with pytest.raises(UserError) as caught:
                ask_all([question(1)], config=config(server), store=store(), what="t")
            assert len(server.seen) == 1
        assert f"({status}): {said}. " in str(caught.value)
        assert remedy in str(caught.value)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_failure_that_stays_is_retried_and_told_in_the_words_of_the_server(status, asked):
    act = failing(status, {"error": {"message": "Slow down, tier 1"}}, retry_after_ms="1")
    outcome, requests = asked(act, replays=False, retries=2)
    assert (outcome.kind, requests) == ("transport", 3)
    assert outcome.detail == f"HTTP {status} after 3 requests: Slow down, tier 1"


@pytest.mark.parametrize(("told", "requests"), [("false", 1), ("true", 3), ("perhaps", 3)])
def test_a_server_may_say_itself_whether_to_ask_again(told, requests, asked):
    act = failing(503, {"error": {"message": "gone"}}, x_should_retry=told, retry_after_ms="1")
    assert asked(act, replays=False, retries=2)[1] == requests


@pytest.mark.parametrize("status", [201, 202, 204, 301, 304, 405, 418])
def test_other_statuses_are_failures_with_their_number(status, asked):
    outcome, _ = asked(failing(status, b""), replays=False, retries=0)
    assert isinstance(outcome, Failure)


def test_waits_that_a_server_asks_for_do_not_use_up_the_deadline(question, config, store):
    def plan(row, attempt):
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # of whole seconds
        return [error(429, retry_after="1.3"), error(503, retry_after=later), Act()][attempt - 1]

    with FaultServer(plan) as server:
        (outcome,) = ask_all([question(1)], config=config(server, deadline=2), store=store(), what="t")
    assert isinstance(outcome, Answer)
    first, second, third = (seen.at for seen in server.seen)
    assert second - first >= 1.2
    assert third - second >= 0.9


@pytest.mark.parametrize(
    "wait",
    ["300", format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)],
    ids=["seconds", "date"],  # a name that the clock changes is another test to each worker
)
def test_a_wait_that_is_too_long_is_told_and_not_waited_for(wait, asked):
    outcome, requests = asked(error(429, retry_after=wait), replays=False)
    assert (outcome.kind, requests) == ("transport", 1)
    assert "asks to wait" in outcome.detail


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon", "Mon, 99 Foo 2026", "Sat, 01 Jan 2000 00:00:00 GMT", ""])
def test_a_wait_that_is_none_is_as_if_there_were_none(wait, question, config, store):
    with FaultServer(lambda row, attempt: error(429, retry_after=wait) if attempt == 1 else Act()) as server:
        assert isinstance(ask_all([question(1)], config=config(server), store=store(), what="t")[0], Answer)


class Bounded(BaseModel):
    """A form with every bound that pydantic can express."""

    model_config = ConfigDict(extra="forbid")

    minimum: int = Field(ge=1, le=10)  # named as the keyword is, and to be kept
    between: float = Field(gt=0, lt=10)
    even: int = Field(multiple_of=2)
    word: str = Field(min_length=1, max_length=9, pattern="^[a-z]+$")
    some: list[Annotated[int, Field(ge=0)]] = Field(min_length=1, max_length=3)
    day: Literal["mon", "tue"]


FITTING = {"minimum": 7, "between": 1.5, "even": 4, "word": "yes", "some": [1], "day": "mon"}
COMPLAINTS = {
    "OpenAI": "Invalid schema for response_format: In context=('properties', 'minimum'), 'minimum' is not permitted.",
    "Anthropic": "output_format.schema: For 'integer' type, properties maximum, minimum are not supported",
    "of a text": "'minLength' is not supported",
    "of a pattern": "Schema keyword pattern is not supported",
    "of a list": "maxItems: unsupported keyword",
    "of objects": "Unknown name \"additionalProperties\" at 'generation_config.response_schema'",
    "without a name": "Failed to compile the JSON schema",
}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("complaint", COMPLAINTS.values(), ids=COMPLAINTS)
def test_a_schema_that_is_refused_for_its_bounds_is_sent_without_and_checked_here(complaint, status, config, store):
    asks = [Ask(str(i), (Message("user", f"row {i}"),), Bounded) for i in range(4)]
    refused = (BOUNDS - {"minimum"}) | ({"additionalProperties"} if "additionalProperties" in complaint else set())

    class Picky(FaultServer):
        def arrive(self, body, headers):
            act = super().arrive(body, headers)
            schema = json.dumps(body["response_format"])
            return (
                failing(status, {"error": {"message": complaint}})
                if any(f'"{word}":' in schema for word in refused)
                else act
            )

    values = {"3": FITTING | {"minimum": 11}}
    with Picky(lambda row, _: says(json.dumps(values.get(row, FITTING)))) as server:
        outcomes = ask_all(asks, config=config(server, concurrency=1, reasks=0), store=store(), what="t")
        assert len(server.seen) == 5, "one retry; then the endpoint is known"
        assert [getattr(one, "kind", "answer") for one in outcomes] == ["answer"] * 3 + ["invalid"]
        assert outcomes[3].detail == "minimum: Input should be less than or equal to 10"
        left = json.dumps(server.seen[1].body["response_format"])
        assert all(part in left for part in ('"strict": true', '"enum": ["mon", "tue"]', '"required"', '"minimum": {'))
        assert ask_all(asks, config=config(reasks=0), store=store(), what="t") == outcomes, (
            "the key is that of the form"
        )


def test_a_schema_that_is_refused_without_bounds_too_is_a_rejection_after_one_retry(asked):
    outcome, requests = asked(error(400, "'minimum' is not permitted"), replays=False)
    assert (outcome.kind, requests) == ("rejected", 2)
    assert "'minimum' is not permitted" in outcome.detail


UNUSABLE = {
    "a proxy of no known kind": {"HTTPS_PROXY": "htp://user:hunter22@proxy:1"},
    "a proxy with no port": {"ALL_PROXY": "http://proxy:port"},
    "a proxy for another package": {"all_proxy": "socks5://user:hunter22@proxy:1"},
    "a certificate file that is missing": {"SSL_CERT_FILE": "/nowhere/ca.pem"},
    "a certificate file that is none": {"SSL_CERT_FILE": __file__},
}


@pytest.mark.parametrize("variables", UNUSABLE.values(), ids=UNUSABLE)
def test_a_replay_needs_no_network_and_recording_names_the_variable_in_one_line(
    variables, question, config, store, monkeypatch
):
    with FaultServer(lambda row, _: REFUSAL) as server:  # a refusal needs the libraries in replay too
        recorded = ask_all([question(1)], config=config(server), store=store(), what="t")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert ask_all([question(1)], config=config(), store=store(), what="t") == recorded
        with pytest.raises(UserError, match="2 of 2 replies are missing"):
            ask_all([question(2), question(3)], config=config(), store=store(), what="t")
        with pytest.raises(UserError, match="proxy or certificate settings") as caught:
            ask_all([question(2)], config=config(server), store=store(), what="t")
    assert next(iter(variables)) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_replay_opens_no_client_and_reads_no_certificates(question, config, store, monkeypatch):
    with FaultServer(lambda row, _: REFUSAL) as server:
        ask_all([question(1)], config=config(server), store=store(), what="t")

    def opened(*args, **options):
        raise AssertionError("a replay has opened a client")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", opened)
    monkeypatch.setattr("socket.socket.connect", opened)
    assert ask_all([question(1)], config=config(), store=store(), what="t")[0].kind == "refusal"


def test_a_lost_connection_says_why(question, config, store):
    with FaultServer() as server:
        dead = config(server, retries=0)
    (outcome,) = ask_all([question(1)], config=dead, store=store(), what="t")
    assert outcome.kind == "transport"
    assert outcome.detail.startswith("connection lost or refused (ConnectError: ")
