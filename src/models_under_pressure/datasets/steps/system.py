"""Steps that change system prompts."""

from typing import Literal

from models_under_pressure.core.records import Message, Record
from models_under_pressure.datasets.files import Splits
from models_under_pressure.datasets.steps.base import BaseStep, Outcome, Tools, mapped, with_messages


class AddSystemPrompt(BaseStep):
    """Put a system message first, whatever is there already."""

    op: Literal["add_system_prompt"]
    text: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        return mapped(splits, lambda record: with_messages(record, (Message("system", self.text), *record.messages)))


class DropDuplicateSystemPrompt(BaseStep):
    """Keep one of several system messages with the same text."""

    op: Literal["drop_duplicate_system_prompt"]

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        return mapped(splits, lambda record: with_messages(record, _without_repeated_system(record.messages)))


class ReplaceSystemPrompt(BaseStep):
    """Remove every system message and put this one first."""

    op: Literal["replace_system_prompt"]
    text: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""

        def replaced(record: Record) -> Record:
            rest = (message for message in record.messages if message.role != "system")
            return with_messages(record, (Message("system", self.text), *rest))

        return mapped(splits, replaced)


def system_prompt(record: Record) -> str:
    """Text of the first system message; empty if there is none."""
    return next((message.content for message in record.messages if message.role == "system"), "")


def with_system_prompt(record: Record, text: str) -> Record:
    """The record with another text in its first system message."""
    first = next((index for index, message in enumerate(record.messages) if message.role == "system"), None)
    if first is None:
        return with_messages(record, (Message("system", text), *record.messages))
    messages = list(record.messages)
    messages[first] = Message("system", text)
    return with_messages(record, tuple(messages))


def _without_repeated_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    kept: list[Message] = []
    for message in messages:
        if message.role != "system" or message not in kept:
            kept.append(message)
    return tuple(kept)
