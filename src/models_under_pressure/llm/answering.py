"""Answering questions: at once where a recorded reply settles them, else by way of openai and instructor."""

import asyncio
import gc
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.ask import Answer, Ask, Asker, Failure
from models_under_pressure.llm.config import Estimate, LLMConfig
from models_under_pressure.llm.reading import read_reply
from models_under_pressure.llm.redact import one_line
from models_under_pressure.llm.store import ReplyStore, request_key

T = TypeVar("T", bound=BaseModel)

REPLIES = Path("data/replies")
SHIPPED = Path("data/demo/replies")
"""Replies written by the project's authors for the demo corpus."""


def open_store(name: str, folder: Path = REPLIES) -> ReplyStore:
    """The replies that a stage may use; `folder` holds its record file."""
    return ReplyStore(record_file=folder / f"{name}.jsonl", shipped=sorted(SHIPPED.glob("*.jsonl")))


@contextmanager
def recorded(name: str, config: LLMConfig, folder: Path = REPLIES) -> Generator[Asker]:
    """Yield the way to ask; when the block succeeds, the replies used are written to the stage's record file.

    Raises:
        UserError: more than `config.allow_missing` questions of one round stay without an answer; every reply that
            did come is in the ledger by then.
    """
    store = open_store(name, folder)

    def ask(asks: Sequence[Ask[T]], /) -> Sequence[Answer[T] | Failure]:
        answers = ask_all(asks, config=config, store=store, what=name)
        failures = [answer for answer in answers if isinstance(answer, Failure)]
        if len(failures) > config.allow_missing:
            listed = ", ".join(f"{failure.record_id} ({failure.kind})" for failure in failures)
            first = {failure.kind: failure.detail for failure in reversed(failures)}
            why = "; ".join(f"{kind}: {one_line(detail).rstrip('.')}" for kind, detail in sorted(first.items()))
            raise UserError(
                f"{len(failures)} of {len(asks)} questions have no answer: {listed}. The first reasons: {why}.",
                where=name,
                remedy="run the stage again to ask only what was lost; accept the rest with --allow-missing "
                f"{len(failures)}, or for `dvc repro` with llm.allow_missing.",
            )
        return answers

    try:
        yield ask
        store.write_record_file()
    finally:
        store.close()


def ask_all(asks: Sequence[Ask[T]], *, config: LLMConfig, store: ReplyStore, what: str) -> list[Answer[T] | Failure]:
    """Answer the questions in their order, from the store where it has the reply.

    Every reply is in the ledger before this function uses it; run again after any stop, and only what is not
    recorded is asked.

    Raises:
        UserError: a reply is missing in replay mode (all are counted), there is no key, the endpoint refuses
            everything, or the next request could exceed the spend cap.
    """
    if config.mode == "replay" and (replayed := _replayed(asks, config, store)) is not None:
        return list(replayed)
    return asyncio.run(_running().answer_all(asks, config=config, store=store, what=what))


def estimate(asks: Sequence[Ask[Any]], *, config: LLMConfig, store: ReplyStore) -> Estimate:
    """What `record` would have to ask, and what that costs; uses no network.

    Output tokens are the mean of the recorded replies, or `max_tokens` each if there are none. Questions asked
    again after a reply of the wrong form are not foreseen.
    """
    if config.mode != "refresh" and _replayed(asks, config, store) is not None:
        return Estimate(len(asks), len(asks), 0, 0, cost_usd=0.0 if config.price else None, is_bound=False)
    return asyncio.run(_running().estimate_all(asks, config=config, store=store))


def _replayed(asks: Sequence[Ask[T]], config: LLMConfig, store: ReplyStore) -> list[Answer[T]] | None:
    """The answers if each question has a recorded reply that fits its form; None if any needs more than that."""
    answers: list[Answer[T]] = []
    for ask in asks:
        reply = store.get(request_key(ask.body(config), sample=ask.sample))
        if reply is None or reply.ended or reply.content is None:
            return None
        if (value := read_reply(reply.content, ask.reply)) is None:
            return None
        answers.append(Answer(value, reply.model))
    return answers


@cache
def _running() -> ModuleType:
    """The part that needs openai and instructor, which take 1.5 s to import."""
    gc.disable()  # a sixth of that time is a search for garbage among classes that live as long as the process
    try:
        import_module("openai.resources.chat")  # instructor would import it, in the same event loop
        from models_under_pressure.llm import run
    finally:
        gc.freeze()
        gc.enable()
    return run
