"""Asking a chat model for pydantic objects: the one way that every caller uses."""

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from models_under_pressure.core.records import Message
from models_under_pressure.llm.config import Estimate, LLMConfig
from models_under_pressure.llm.reply import Kind
from models_under_pressure.llm.store import ReplyStore

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Ask(Generic[T]):
    """One question to the model, and the form of its reply.

    The form forbids extra fields and has no optional ones, as strict JSON schemas demand.
    """

    record_id: str
    """Names the question in errors; never sent."""
    messages: tuple[Message, ...]
    reply: type[T]
    sample: int = 0
    """Tells repetitions of one question apart; never sent."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """The model's answer."""

    value: T
    model: str
    """As the server reported it."""


@dataclass(frozen=True)
class Failure:
    """A question without an answer."""

    record_id: str
    kind: Kind
    detail: str


class Asker(Protocol):
    """Something that answers questions, in their order."""

    def __call__(self, asks: Sequence[Ask[T]], /) -> Sequence[Answer[T] | Failure]:
        """Answer every question, or say why not."""
        ...


def ask_all(asks: Sequence[Ask[T]], *, config: LLMConfig, store: ReplyStore, what: str) -> list[Answer[T] | Failure]:
    """Answer the questions in their order, from the store where it has the reply.

    Every reply is in the ledger before this function uses it; run again after any stop, and only what is not
    recorded is asked.

    Raises:
        UserError: a reply is missing in replay mode (all are counted), there is no key, the endpoint refuses
            everything, or the next request could exceed the spend cap.
    """
    return asyncio.run(_answering().answer_all(asks, config=config, store=store, what=what))


def estimate(asks: Sequence[Ask[Any]], *, config: LLMConfig, store: ReplyStore) -> Estimate:
    """What `record` would have to ask, and what that costs; uses no network.

    Output tokens are the mean of the recorded replies, or `max_tokens` each if there are none. Questions asked
    again after a reply of the wrong form are not foreseen.
    """
    return asyncio.run(_answering().estimate_all(asks, config=config, store=store))


@cache
def _answering() -> ModuleType:
    """The part that needs openai and instructor, which take 1.5 s to import: stages that ask nothing do without."""
    gc.disable()  # a sixth of that time is a search for garbage among classes that live as long as the process
    try:
        import openai.resources.chat  # noqa: F401  (instructor would import it, in the same event loop)

        from models_under_pressure.llm import answering
    finally:
        gc.freeze()
        gc.enable()
    return answering


def load_prompt(package: str, name: str) -> str:
    """Text of `prompts/<name>.txt` in a package.

    Raises:
        FileNotFoundError: the package has no such prompt.
    """
    return files(package).joinpath(f"prompts/{name}.txt").read_text("utf-8")
