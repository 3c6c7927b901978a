"""How a command puts questions to the chat model, and where it keeps the replies."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.ask import Answer, Ask, Asker, Failure, ask_all
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.store import ReplyStore

T = TypeVar("T", bound=BaseModel)

REPLIES = Path("data/replies")
SHIPPED = Path("data/demo/replies")
"""Replies written by the project's authors for the demo corpus."""


def open_store(name: str, folder: Path = REPLIES) -> ReplyStore:
    """The replies that a stage may use; `folder` holds its record file."""
    return ReplyStore(record_file=folder / f"{name}.jsonl", shipped=sorted(SHIPPED.glob("*.jsonl")))


@contextmanager
def recorded(name: str, config: LLMConfig, folder: Path = REPLIES) -> Iterator[Asker]:
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
            raise UserError(
                f"{len(failures)} of {len(asks)} questions have no answer: {listed}.",
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
