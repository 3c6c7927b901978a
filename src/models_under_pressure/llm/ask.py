"""What is asked of a chat model, and what comes back: a question demands a pydantic object."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from models_under_pressure.core.conversation import Message
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.reply import Kind

T = TypeVar("T", bound=BaseModel)


class Form(BaseModel):
    """The form of a reply: no extra fields, and no optional ones, as strict JSON schemas demand."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Ask(Generic[T]):
    """One question to the model, and the form of its reply."""

    record_id: str
    """Names the question in errors; never sent."""
    messages: tuple[Message, ...]
    reply: type[T]
    sample: int = 0
    """Tells repetitions of one question apart; never sent."""

    def body(self, config: LLMConfig) -> dict[str, Any]:
        """The request as instructor and openai send it, as far as its key depends on it."""
        form = {"name": self.reply.__name__, "schema": reply_schema(self.reply), "strict": True}
        return {
            "messages": [{"role": message.role, "content": message.content} for message in self.messages],
            "response_format": {"type": "json_schema", "json_schema": form},
            **config.sampling,
        }


@dataclass(frozen=True)
class Answer(Generic[T]):
    """The model's answer."""

    value: T
    model: str
    """Name of the model, as the server reported it."""


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


@lru_cache(maxsize=64)
def reply_schema(reply: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a form.

    Raises:
        TypeError: the form has optional fields or allows extra ones, which endpoints refuse in strict schemas.
    """
    schema = reply.model_json_schema()
    for name, part in [(reply.__name__, schema), *schema.get("$defs", {}).items()]:
        if part.get("type") != "object":
            continue
        if part.get("additionalProperties") is not False:
            raise TypeError(f'{name} needs model_config = ConfigDict(extra="forbid")')
        if optional := sorted(set(part.get("properties", {})) - set(part.get("required", ()))):
            raise TypeError(f"{name} has optional fields: {', '.join(optional)}; give them no default")
    return schema


def form_name(words: str) -> str:
    """Words as the name of a form: `high_stakes` is `HighStakes`."""
    return "".join(word[:1].upper() + word[1:] for word in words.replace("_", " ").split())


def load_prompt(package: str, name: str) -> str:
    """Text of `prompts/<name>.txt` in a package.

    Raises:
        FileNotFoundError: the package has no such prompt.
    """
    return files(package).joinpath(f"prompts/{name}.txt").read_text("utf-8")
