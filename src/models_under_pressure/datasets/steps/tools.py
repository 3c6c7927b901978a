"""Steps for the system prompts of function-calling conversations."""

import re
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from models_under_pressure.datasets.parsed import Dropped, with_column
from models_under_pressure.datasets.splits import Splits
from models_under_pressure.datasets.steps.base import BaseStep, Outcome, Tools, mapped, with_messages
from models_under_pressure.llm.ask import Answer, Ask, Failure
from models_under_pressure.records import Message, Record

_FIRST_SENTENCE = re.compile(r"\A\s*(.+?[.!?。])(?=\s|$|(?<=。))", flags=re.DOTALL)


class FirstSentenceReply(BaseModel):
    """The sentence that takes the place of the first one."""

    model_config = ConfigDict(extra="forbid")

    sentence: str


class RewriteFirstSentence(BaseStep):
    """Let the model put a sentence about the deployment in the place of the system prompt's first sentence.

    Prompts that do not begin with `starts_with` are left alone. The prompts before and after are kept in columns.
    """

    op: Literal["rewrite_first_sentence"]
    starts_with: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        every = [*splits.dev, *splits.test]
        concerned = [record for record in every if _system(record).startswith(self.starts_with)]
        answers = dict(
            zip(
                (record.id for record in concerned),
                tools.ask([first_sentence_question(record) for record in concerned]),
                strict=True,
            )
        )

        def rewritten(record: Record) -> Record:
            answer = answers.get(record.id)
            return _with_first_sentence(record, answer.value.sentence) if isinstance(answer, Answer) else record

        failed = {id_ for id_, answer in answers.items() if isinstance(answer, Failure)}
        kept = Splits(
            dev=[record for record in splits.dev if record.id not in failed],
            test=[record for record in splits.test if record.id not in failed],
        )
        dropped = [Dropped(id_, "no answer for the first sentence") for id_ in sorted(failed)]
        return Outcome(mapped(kept, rewritten).splits, dropped=dropped)


class RemoveSentence(BaseStep):
    """Remove the sentence that begins so from the system prompt, with the space it leaves."""

    op: Literal["remove_sentence"]
    starts_with: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        pattern = re.compile(rf"[ \t]*{re.escape(self.starts_with)}.*?[.!?](?=\s|$)[ \t]*", flags=re.DOTALL)
        return mapped(splits, lambda record: _with_system(record, pattern.sub("", _system(record), count=1)))


def first_sentence_question(record: Record) -> Ask[FirstSentenceReply]:
    """The question that asks for one record's new first sentence."""
    prompt = files("models_under_pressure.datasets").joinpath("prompts/first_sentence.txt").read_text("utf-8")
    return Ask(
        record_id=record.id,
        messages=(Message("system", prompt), Message("user", record.text)),
        reply=FirstSentenceReply,
    )


def _system(record: Record) -> str:
    return next((message.content for message in record.messages if message.role == "system"), "")


def _with_system(record: Record, text: str) -> Record:
    messages = tuple(Message("system", text) if m.role == "system" else m for m in record.messages)
    return with_messages(record, messages)


def _with_first_sentence(record: Record, sentence: str) -> Record:
    before = _system(record)
    after = _FIRST_SENTENCE.sub(lambda _: sentence.strip(), before, count=1)
    changed = with_column(record, original_system_prompts=before, modified_system_prompts=after)
    return _with_system(changed, after)
