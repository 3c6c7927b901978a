import logging
import traceback

import pytest
from fault_server import NOT_JSON_REPLY, REFUSAL, ROUTER_ERROR, Act, FaultServer, error

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.transport import api_key

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


def test_a_key_is_never_sent_in_the_clear_to_another_machine(config, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert api_key(config(endpoint="http://example.org/v1")) is None
    assert api_key(config(endpoint="https://example.org/v1")) == CANARY
    assert api_key(config(endpoint="http://127.0.0.1:8000/v1")) == CANARY
    assert api_key(config(endpoint="openrouter")) is None
