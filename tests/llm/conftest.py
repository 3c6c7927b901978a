import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.core.conversation import Message
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Ask
from models_under_pressure.llm.config import LLMConfig, Price
from models_under_pressure.llm.store import ReplyStore

for folder in (Path(__file__).parent, Path(__file__).parents[2] / "scripts"):  # helpers
    sys.path.insert(0, str(folder))


class Stakes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    explanation: str
    stakes: int = Field(ge=1, le=10)


@pytest.fixture
def question():
    def make(row, *, text="", sample=0):
        return Ask(str(row), (Message("system", "Rate."), Message("user", f"row {row} {text}")), Stakes, sample)

    return make


@pytest.fixture
def config():
    def make(server=None, **changes):
        endpoint = {"endpoint": server.url} if server else {}
        mode = {"mode": "record"} if server else {}
        prices = {"gpt-4o": Price(input=2.5, output=10)}
        return LLMConfig(**({"model": "gpt-4o", "prices": prices} | endpoint | mode | changes))

    return make


@pytest.fixture
def store(tmp_path):
    def make(name="stage", **options):
        return ReplyStore(record_file=tmp_path / f"{name}.jsonl", **options)

    return make


@pytest.fixture
def asked(question, config, store):
    """Ask one question of a server that always acts alike: outcome and number of requests; then replay it."""

    def asked(act, *, replays=True, **changes):
        from fault_server import FaultServer

        with FaultServer(lambda row, attempt: act) as server:
            settings = config(server, **{"retries": 1, "reasks": 1} | changes)
            (outcome,) = ask_all([question(1)], config=settings, store=store(), what="t")
            requests = len(server.seen)
        if replays:
            assert ask_all([question(1)], config=config(reasks=settings.reasks), store=store(), what="t") == [outcome]
        return outcome, requests

    return asked


@pytest.fixture(autouse=True)
def _retries_at_once(monkeypatch):
    """Where a server names no wait, openai waits half a second before the first retry, then twice as long each time."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch, tmp_path):
    for name in ("OPENAI_API_KEY", "OPEN_ROUTER_API_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
