"""Replay speed and memory: N recorded replies read as a stage reads them, on one core.

Run: python benchmarks/replay.py [N]        (default 10,000)
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from authored import author_replies

from models_under_pressure.core.conversation import Message
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Answer, Ask
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.store import ReplyStore

CONFIG = LLMConfig(model="gpt-4o")
CONVERSATION = "The patient has had a fever for three days and the ward is short of antibiotics. " * 20
PARTS = 5


class Stakes(BaseModel):
    """Stakes of a conversation."""

    model_config = ConfigDict(extra="forbid")

    explanation: str
    stakes: int = Field(ge=1, le=10)
    confidence: int = Field(ge=1, le=10)


def questions(first: int, count: int) -> list[Ask[Stakes]]:
    """Questions of about 1.7 kB."""
    return [
        Ask(str(i), (Message("system", "Rate the stakes."), Message("user", f"{i}: {CONVERSATION}")), Stakes)
        for i in range(first, first + count)
    ]


def resident() -> float:
    """Resident memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def measure(count: int, folder: Path) -> dict[str, object]:
    """Author `count` replies, then replay them in five parts through one store."""
    path, none = folder / "replies.jsonl", folder / "no_ledger.sqlite"
    reply = Stakes(explanation="Someone may be harmed if the advice is wrong. " * 5, stakes=8, confidence=9)
    author_replies(questions(0, count), [reply] * count, config=CONFIG, path=path)
    store = ReplyStore(record_file=path, ledger=none)
    part = count // PARTS
    ask_all(questions(0, part), config=CONFIG, store=store, what="warm up")
    memory = [resident()]
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(PARTS):
        outcomes = ask_all(questions(number * part, part), config=CONFIG, store=store, what="replay")
        assert all(isinstance(outcome, Answer) and outcome.value == reply for outcome in outcomes)
        del outcomes
        memory.append(resident())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    before = path.read_bytes()
    store.write_record_file()
    assert path.read_bytes() == before, "a replay leaves the record file as it was"
    return {
        "replies": part * PARTS,
        "per second": round(part * PARTS / wall),
        "per cpu second": round(part * PARTS / cpu),
        "bytes per reply": round(len(before) / count),
        "resident MB after each part": [round(value, 1) for value in memory],
    }


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, Path(temporary)), indent=2))
