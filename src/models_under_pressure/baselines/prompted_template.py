"""Wordings that ask a model for the stakes of a conversation, and the two replies whose likelihood is compared."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from models_under_pressure.core.records import Message, Record

_PLACE = "{conversation}"


@dataclass(frozen=True, slots=True)
class Template:
    """One wording."""

    name: str
    user: str
    """The user's message; `{conversation}` stands for the conversation."""
    high: str
    """The reply of a model that finds the conversation high-stakes."""
    low: str
    system: str | None = None

    def __post_init__(self) -> None:
        if self.user.count(_PLACE) != 1 or self.high == self.low:
            raise ValueError(f"template {self.name}: `user` must hold {_PLACE} once, and the replies must differ")


def load_template(name: str) -> Template:
    """Read a wording from `baselines/templates`."""
    text = files("models_under_pressure.baselines").joinpath("templates", f"{name}.toml").read_text("utf-8")
    return Template(name, **{key: value.strip() for key, value in tomllib.loads(text).items()})


def conversation_text(record: Record) -> str:
    """A conversation as text inside a prompt: roles in capitals, blank lines between turns; a plain string as it is."""
    if isinstance(record.input, str):
        return record.input
    return "\n\n".join(f"{message.role.upper()}\n{message.content}" for message in record.input)


def question(template: Template, conversation: str) -> tuple[Message, ...]:
    """The messages that ask for the stakes of a conversation."""
    user = Message("user", template.user.replace(_PLACE, conversation))
    return (user,) if template.system is None else (Message("system", template.system), user)
