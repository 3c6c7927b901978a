import base64
import json
import logging
import traceback
from contextlib import closing

import pytest
from fault_server import GOOD, NOT_JSON_REPLY, REFUSAL, ROUTER_ERROR, Act, FaultServer, answer, completion, error

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import read
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.transport import api_key
from models_under_pressure.tools.replies import verify_replies

CANARY = "sk-canary-7f3a91c0d5e24b68"
LEAKY = b'{"error": {"message": "Incorrect API key provided: %s", "code": "invalid_api_key"}}' % CANARY.encode()


def chain(exception):
    """An exception with everything that hangs on it."""
    while exception is not None:
        yield "".join(traceback.format_exception(exception))
        yield repr(exception)
        yield repr(vars(exception))
        exception = exception.__cause__ or exception.__context__


@pytest.mark.parametrize("by", ["environment", "file"])
def test_the_key_is_sent_and_found_nowhere_else(by, question, config, store, tmp_path, monkeypatch, caplog, capfd):
    if by == "file":
        (tmp_path / ".env").write_text(f"OPENAI_API_KEY={CANARY}\n")
        (tmp_path / "below").mkdir()
        monkeypatch.chdir(tmp_path / "below")
    else:
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    acts = {"2": NOT_JSON_REPLY, "3": REFUSAL, "4": error(400), "5": error(500), "6": ROUTER_ERROR}
    acts |= {"7": Act(400, {}, LEAKY), "8": Act(cut="before")}
    caplog.set_level(logging.DEBUG)
    said = []
    with FaultServer(lambda row, attempt: Act(401, {}, LEAKY) if row == "401" else acts.get(row, Act())) as server:
        fast = config(server, retries=1)
        one = store()
        outcomes = ask_all([question(i) for i in range(9)], config=fast, store=one, what="t")
        said += [repr(outcome) for outcome in outcomes]
        one.write_record_file()
        with pytest.raises(UserError, match="refuses the API key") as caught:
            ask_all([question(401)], config=fast, store=store(), what="t")
        said += chain(caught.value)
        ask_all(
            [question(1)],
            config=config(server, batch=True, batch_poll_seconds=0.01, mode="refresh"),
            store=store(),
            what="t",
        )
        assert all(CANARY in seen.headers["authorization"] for seen in server.seen)
    streams = capfd.readouterr()
    said += [streams.out, streams.err, caplog.text]
    assert len(caplog.text) > 1000, "nothing was logged, so nothing was tested"
    assert not [text for text in said if CANARY in text]
    files = [*tmp_path.rglob("*"), *one.ledger.path.parent.iterdir()]
    assert len([file for file in files if file.is_file()]) >= 2
    leaked = [file for file in files if file.is_file() and file.name != ".env" and CANARY.encode() in file.read_bytes()]
    assert not leaked


OTHERS = {
    "WANDB_API_KEY": "wandb-canary-0f3b1c",
    "R2_SECRET_ACCESS_KEY": "r2+canary/0f3b1c==",
    "HF_TOKEN": "hf_canary0f3b1c",
}
TOLD = {"explanation": f"You sent Authorization: Bearer {CANARY}.", "stakes": 7}
HEADER = f"Bearer {CANARY}"
ECHOES = {
    "in an answer": completion(json.dumps(TOLD)),
    "in an answer, twice": completion(json.dumps(TOLD | {"explanation": json.dumps({"headers": {"auth": HEADER}})})),
    "in an answer, escaped": completion(json.dumps(TOLD).replace("sk-canary", "\\u0073k-canary")),
    "in a code fence": completion(f"You sent {CANARY}.\n```json\n{json.dumps(TOLD)}\n```"),
    "in prose": completion(f"You sent {HEADER}."),
    "in base64": completion(json.dumps(TOLD | {"explanation": base64.b64encode(CANARY.encode()).decode()})),
    "in a refusal": completion(None, refusal=f"Not with {CANARY}."),
    "in the model": completion(json.dumps(GOOD), model=f"gpt-4o {HEADER}"),
    "in finish_reason": completion(json.dumps(GOOD), finish=CANARY),
    "in a field of its own": json.dumps(json.loads(completion(json.dumps(GOOD))) | {CANARY: [{"id": CANARY}]}).encode(),
    "in an error": LEAKY,
    "in an error behind": json.dumps({"error": {"message": "no", "metadata": {"raw": json.dumps(TOLD)}}}).encode(),
    "in an error, escaped": LEAKY.replace(b"sk-canary", b"\\ud83d \\u0073k-canary"),
    "in a page": f"<html>{HEADER}</html>".encode(),
    "in a text": f"who is {HEADER}?".encode(),
} | {f"another secret, {name}": completion(json.dumps(GOOD | {"explanation": value})) for name, value in OTHERS.items()}
STATUSES = (200, 400, 401, 402, 403, 404, 409, 413, 422, 429, 500)
SPELLINGS = [CANARY, *OTHERS.values(), base64.b64encode(CANARY.encode()).decode(), "\\u0073k-canary"]


def found(texts, secrets=SPELLINGS):
    return [text for text in texts for secret in secrets if secret in text]


def content_of(store):
    """All that a closed store has on disk: its folder, and that of the ledger."""
    paths = [*store.record_file.parent.rglob("*"), *store.ledger.path.parent.rglob("*")]
    return [path.read_bytes().decode("utf-8", "replace") for path in paths if path.is_file()]


@pytest.mark.parametrize("status", STATUSES)
def test_a_key_that_the_server_repeats_is_neither_kept_nor_shown(
    status, question, config, store, monkeypatch, caplog, capfd
):
    for name, value in ({"OPENAI_API_KEY": CANARY} | OTHERS).items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    said, one = [], store()
    bodies = list(ECHOES.values())
    acts = [Act(status, {"x-request-id": "1", "retry-after-ms": "1"}, body) for body in bodies]
    with FaultServer(lambda row, _: acts[int(row)]) as server:
        for row in range(len(acts)):
            try:
                said += map(repr, ask_all([question(row)], config=config(server, retries=1), store=one, what="t"))
            except UserError as error:
                said += chain(error)
    one.write_record_file()
    one.close()
    files = content_of(one)
    streams = capfd.readouterr()
    assert not found([*said, *files, streams.out, streams.err, caplog.text])
    assert one.record_file.exists()
    if status == 200:
        assert len(files) == 2
        assert sum("[OPENAI_API_KEY]" in text for text in said) >= 8
        assert all(f"[{name}]" in "".join(said) for name in OTHERS)
        assert streams.err.count("the endpoint repeated a secret (OPENAI_API_KEY)") >= 1
        assert verify_replies([one.record_file], one.ledger) == []


def test_a_repeated_key_is_said_once_in_a_run(question, config, store, monkeypatch, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with FaultServer(lambda row, _: Act(body=ECHOES["in an answer"])) as server:
        ask_all([question(i) for i in range(20)], config=config(server), store=store(), what="t")
    assert capfd.readouterr().err.count("repeated a secret") == 1


def test_a_key_that_a_batch_repeats_is_not_kept(question, config, store, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)

    class Echoing(FaultServer):
        def create_batch(self, request):
            batch = super().create_batch(request)
            output = self.files[f"out_{batch['id']}"]
            self.files[f"out_{batch['id']}"] = output.replace(b"because", f"because {CANARY}".encode())
            return batch

    with Echoing() as server, closing(store()) as one:
        batched = config(server, batch=True, batch_poll_seconds=0.01)
        (outcome,) = ask_all([question(1)], config=batched, store=one, what="t")
        assert not server.seen
        one.write_record_file()
    assert outcome.value.explanation == "because [OPENAI_API_KEY]"
    assert len(content_of(one)) == 2
    assert not found(content_of(one))


@pytest.mark.parametrize("key", ["EMPTY", "sk-none", "none"])
def test_a_placeholder_for_a_key_is_a_word_like_any_other(key, question, config, store, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with FaultServer(lambda row, _: answer(explanation=f"the list is {key}")) as server:
        (outcome,) = ask_all([question(1)], config=config(server), store=store(), what="t")
    assert outcome.value.explanation == f"the list is {key}"


@pytest.mark.parametrize("quoted", ["sk-canar****************4b68", "sk-proj-abcdef...4b68", "hf_****4b68"])
def test_a_key_that_an_endpoint_quotes_in_part_is_not_shown(quoted, question, config, store):
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {quoted}. Find yours at the site."}}).encode()
    with FaultServer(lambda row, _: Act(401, {}, body)) as server, pytest.raises(UserError) as caught:
        ask_all([question(1)], config=config(server), store=store(), what="t")
    assert "4b68" not in str(caught.value)
    assert "Incorrect API key provided: […]" in str(caught.value)


PASSWORD = "hunter22%2Fcanary"


@pytest.mark.parametrize("status", [200, 400, 401, 402, 404, 429, 500, None])
@pytest.mark.parametrize("batch", [False, True])
def test_a_password_in_the_address_of_the_endpoint_is_sent_and_found_nowhere_else(
    status, batch, question, config, store, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    pair = base64.b64encode(b"user4711:hunter22/canary").decode()
    secrets = ["hunter22", "user4711", pair]
    body = ECHOES["in an answer"].replace(HEADER.encode(), f"Basic {pair} hunter22/canary".encode())
    said, one = [], store()
    with FaultServer(lambda row, _: Act(status or 200, {}, body)) as server:
        url = server.url.replace("http://", f"http://user4711:{PASSWORD}@")
        asked = config(server, endpoint=url, retries=0, concurrency=1, batch=batch, batch_poll_seconds=0.01)
        if status:
            said += ask_or_error([question(i) for i in range(9)], asked, one)
            assert all(f"Basic {pair}" in seen.headers.values() for seen in server.seen)
    if status is None:
        said += ask_or_error([question(i) for i in range(9)], asked, one)
        assert "http://***@127.0.0.1" in "".join(said)
    one.close()
    streams = capfd.readouterr()
    assert not found([*said, *content_of(one), streams.out, streams.err, caplog.text], secrets)


def ask_or_error(asks, settings, store):
    try:
        return [repr(outcome) for outcome in ask_all(asks, config=settings, store=store, what="t")]
    except UserError as error:
        return list(chain(error))


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://user4711:hunter22@host/v1?api-key=hunter22",
        "https://user4711:hunter22@host:port/v1",
        "https://user4711:hunter22@[::1/v1",
        "ftp://user4711:hunter22@host/v1",
        "https://user4711:hunter22@",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(endpoint, tmp_path):
    (tmp_path / "params.yaml").write_text(f"llm:\n  model: m\n  endpoint: {endpoint}\n")
    with pytest.raises(UserError, match=r"params.yaml:3: `llm.endpoint`: endpoint") as caught:
        read("llm", LLMConfig)
    assert not found([str(caught.value)], ["hunter22", "user4711"])


def test_a_key_is_never_sent_in_the_clear_to_another_machine(config, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert api_key(config(endpoint="http://example.org/v1")) is None
    assert api_key(config(endpoint="https://example.org/v1")) == CANARY
    assert api_key(config(endpoint="http://127.0.0.1:8000/v1")) == CANARY
    assert api_key(config(endpoint="openrouter")) is None
