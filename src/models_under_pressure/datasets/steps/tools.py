"""Steps for the system prompts of function-calling conversations."""

import re
from collections.abc import Callable
from typing import Literal, TypeVar

from pydantic import BaseModel

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Record
from models_under_pressure.datasets.files import Splits
from models_under_pressure.datasets.labelling import unanswered
from models_under_pressure.datasets.source import with_column
from models_under_pressure.datasets.steps import BaseStep, EachRecord, Outcome, Tools, with_messages
from models_under_pressure.llm.ask import Answer, Ask, Failure, Form, load_prompt

T = TypeVar("T", bound=BaseModel)

_FIRST_SENTENCE = re.compile(r"\A\s*(.+?[.!?。])(?=\s|$|(?<=。))", flags=re.DOTALL)


class AddSystemPrompt(EachRecord):
    """Put a system message first, whatever is there already."""

    op: Literal["add_system_prompt"]
    text: str

    def _changed(self, record: Record) -> Record:
        return with_messages(record, Message("system", self.text), *record.messages)


class DropDuplicateSystemPrompt(EachRecord):
    """Keep one of several system messages with the same text."""

    op: Literal["drop_duplicate_system_prompt"]

    def _changed(self, record: Record) -> Record:
        kept: list[Message] = []
        for message in record.messages:
            if message.role != "system" or message not in kept:
                kept.append(message)
        return with_messages(record, *kept)


class ReplaceSystemPrompt(EachRecord):
    """Remove every system message and put this one first."""

    op: Literal["replace_system_prompt"]
    text: str

    def _changed(self, record: Record) -> Record:
        rest = (message for message in record.messages if message.role != "system")
        return with_messages(record, Message("system", self.text), *rest)


class RemoveSentence(EachRecord):
    """Remove the sentence that begins so from the system prompt, with the space it leaves."""

    op: Literal["remove_sentence"]
    starts_with: str

    def _changed(self, record: Record) -> Record:
        pattern = re.compile(rf"[ \t]*{re.escape(self.starts_with)}.*?[.!?](?=\s|$)[ \t]*", flags=re.DOTALL)
        before = system_prompt(record)
        after = pattern.sub("", before, count=1)
        return record if after == before else with_system_prompt(record, after)


class FirstSentenceReply(Form):
    """The sentence that takes the place of the first one."""

    sentence: str


class SystemPromptReply(Form):
    """The system prompt that takes the place of the one before."""

    system_prompt: str


class RewriteSystemPrompt(BaseStep):
    """Let the model rewrite the whole system prompt for a deployment; the prompts before and after stay in columns."""

    op: Literal["rewrite_system_prompt"]

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        asks = _questions(splits, "system_prompt", SystemPromptReply, concerned=bool)
        return _rewritten(splits, asks, tools, lambda _, reply: reply.system_prompt.strip())


class RewriteFirstSentence(BaseStep):
    """Let the model put a sentence about the deployment in the place of the system prompt's first sentence.

    Prompts that do not begin with `starts_with` are left alone. The prompts before and after stay in columns.
    """

    op: Literal["rewrite_first_sentence"]
    starts_with: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""

        def new(before: str, reply: FirstSentenceReply) -> str:
            return _FIRST_SENTENCE.sub(lambda _: reply.sentence.strip(), before, count=1)

        def concerned(prompt: str) -> bool:
            return prompt.startswith(self.starts_with)

        asks = _questions(splits, "first_sentence", FirstSentenceReply, concerned=concerned)
        return _rewritten(splits, asks, tools, new)


def system_prompt(record: Record) -> str:
    """Text of the first system message; empty if there is none."""
    return next((message.content for message in record.messages if message.role == "system"), "")


def with_system_prompt(record: Record, text: str) -> Record:
    """The record with another text in its first system message."""
    messages = list(record.messages)
    first = next((index for index, message in enumerate(messages) if message.role == "system"), None)
    if first is None:
        return with_messages(record, Message("system", text), *messages)
    messages[first] = Message("system", text)
    return with_messages(record, *messages)


def _questions(splits: Splits, prompt: str, reply: type[T], *, concerned: Callable[[str], bool]) -> list[Ask[T]]:
    """A question for each row whose system prompt is concerned."""
    system = Message("system", load_prompt("models_under_pressure.datasets", prompt))
    rows = [record for record in splits.records if concerned(system_prompt(record))]
    return [Ask(record.id, (system, Message("user", record.text)), reply) for record in rows]


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

    kept = [[rewritten(record) for record in rows if record.id not in lost] for _, rows in splits.items()]
    return Outcome(Splits(*kept), dropped=unanswered(failures))
