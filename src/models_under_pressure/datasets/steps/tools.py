"""Steps for the system prompts of function-calling conversations."""

import re
from collections.abc import Callable
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from models_under_pressure.core.records import Message, Record
from models_under_pressure.datasets.files import Splits, with_column
from models_under_pressure.datasets.labelling import unanswered
from models_under_pressure.datasets.steps.base import BaseStep, Outcome, Tools, mapped, with_messages
from models_under_pressure.llm.ask import Answer, Ask, Failure, load_prompt


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


_FIRST_SENTENCE = re.compile(r"\A\s*(.+?[.!?。])(?=\s|$|(?<=。))", flags=re.DOTALL)

T = TypeVar("T", bound=BaseModel)


class FirstSentenceReply(BaseModel):
    """The sentence that takes the place of the first one."""

    model_config = ConfigDict(extra="forbid")

    sentence: str


class SystemPromptReply(BaseModel):
    """The system prompt that takes the place of the one before."""

    model_config = ConfigDict(extra="forbid")

    system_prompt: str


class RewriteSystemPrompt(BaseStep):
    """Let the model rewrite the whole system prompt for a deployment; the prompts before and after stay in columns."""

    op: Literal["rewrite_system_prompt"]

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        concerned = [record for _, records in splits.items() for record in records if system_prompt(record)]
        questions = [_question(record, "system_prompt", SystemPromptReply) for record in concerned]
        return _rewritten(splits, questions, tools, lambda _, reply: reply.system_prompt.strip())


class RewriteFirstSentence(BaseStep):
    """Let the model put a sentence about the deployment in the place of the system prompt's first sentence.

    Prompts that do not begin with `starts_with` are left alone. The prompts before and after stay in columns.
    """

    op: Literal["rewrite_first_sentence"]
    starts_with: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        concerned = [
            record
            for _, records in splits.items()
            for record in records
            if system_prompt(record).startswith(self.starts_with)
        ]
        questions = [_question(record, "first_sentence", FirstSentenceReply) for record in concerned]
        return _rewritten(
            splits,
            questions,
            tools,
            lambda before, reply: _FIRST_SENTENCE.sub(lambda _: reply.sentence.strip(), before, count=1),
        )


class RemoveSentence(BaseStep):
    """Remove the sentence that begins so from the system prompt, with the space it leaves."""

    op: Literal["remove_sentence"]
    starts_with: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        pattern = re.compile(rf"[ \t]*{re.escape(self.starts_with)}.*?[.!?](?=\s|$)[ \t]*", flags=re.DOTALL)

        def without(record: Record) -> Record:
            before = system_prompt(record)
            after = pattern.sub("", before, count=1)
            return record if after == before else with_system_prompt(record, after)

        return mapped(splits, without)


def _question(record: Record, prompt: str, reply: type[T]) -> Ask[T]:
    text = load_prompt("models_under_pressure.datasets", prompt)
    return Ask(record_id=record.id, messages=(Message("system", text), Message("user", record.text)), reply=reply)


def _rewritten(splits: Splits, questions: list[Ask[T]], tools: Tools, new: Callable[[str, T], str]) -> Outcome:
    """Put the questions, and change the system prompts of the rows that were asked about; unanswered rows go."""
    answers = dict(zip((one.record_id for one in questions), tools.ask(questions), strict=True))
    failures = [answer for answer in answers.values() if isinstance(answer, Failure)]
    lost = {failure.record_id for failure in failures}

    def rewritten(record: Record) -> Record:
        answer = answers.get(record.id)
        if not isinstance(answer, Answer):
            return record
        before = system_prompt(record)
        after = new(before, answer.value)
        columns = with_column(record, original_system_prompts=before, modified_system_prompts=after)
        return with_system_prompt(columns, after)

    kept = Splits(
        dev=[record for record in splits.dev if record.id not in lost],
        test=[record for record in splits.test if record.id not in lost],
    )
    return Outcome(mapped(kept, rewritten).splits, dropped=unanswered(failures))
