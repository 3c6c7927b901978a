"""The kinds of step a dataset recipe can name; each is a pure function of the records.

A step takes both splits and returns them with the rows it dropped and why. Adding a kind = one config class with a
`run` method, listed in `Step`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.datasets.labelling import LabelConfig, label_records
from models_under_pressure.datasets.parsed import Dropped
from models_under_pressure.datasets.splits import Splits
from models_under_pressure.errors import UserError
from models_under_pressure.llm.ask import Asker, Failure
from models_under_pressure.records import Message, Record


@dataclass(frozen=True, slots=True)
class Tools:
    """What steps may use beside the records."""

    ask: Asker
    label: LabelConfig


@dataclass(frozen=True, slots=True)
class Outcome:
    """The records after a step, the rows it dropped, moved or could not have answered."""

    splits: Splits
    dropped: Sequence[Dropped] = ()
    moved: Sequence[str] = ()
    failures: Sequence[Failure] = ()


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        raise NotImplementedError


class AddSystemPrompt(_Step):
    """Put a system message first, whatever is there already."""

    op: Literal["add_system_prompt"]
    text: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        return _mapped(splits, lambda record: _with_messages(record, (Message("system", self.text), *record.messages)))


class DropDuplicateSystemPrompt(_Step):
    """Keep one of several system messages with the same text."""

    op: Literal["drop_duplicate_system_prompt"]

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        return _mapped(splits, lambda record: _with_messages(record, _without_repeated_system(record.messages)))


class ReplaceSystemPrompt(_Step):
    """Remove every system message and put this one first."""

    op: Literal["replace_system_prompt"]
    text: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""

        def replaced(record: Record) -> Record:
            rest = (message for message in record.messages if message.role != "system")
            return _with_messages(record, (Message("system", self.text), *rest))

        return _mapped(splits, replaced)


class FormatTranscription(_Step):
    """Turn a medical note into a system message and one user message with its headings."""

    op: Literal["format_transcription"]
    system: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""

        def formatted(record: Record) -> Record:
            column = {name: str(value or "").strip() for name, value in record.fields.items()}
            text = (
                f"Medical Specialty: {column['medical_specialty']}\n"
                f"Sample Name: {column['sample_name']}\n\n"
                f"{record.fields['transcription']}\n---\n"
                f"DESCRIPTION: {column['description']}"
            )
            return _with_messages(record, (Message("system", self.system), Message("user", text)))

        return _mapped(splits, formatted)


class DropIfShorterThan(_Step):
    """Drop rows in which one column's text is shorter than another's."""

    op: Literal["drop_if_shorter_than"]
    column: str
    than: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""

        def reason(record: Record) -> str | None:
            shorter, longer = (str(record.fields.get(name) or "") for name in (self.column, self.than))
            return f"{self.column} is shorter than {self.than}" if len(shorter) < len(longer) else None

        return _filtered(splits, reason)


class ParseConversation(_Step):
    """Cut a `Doctor: …` / `Patient: …` dialogue into turns after a system message.

    `strict` drops rows in which anybody else speaks.
    """

    op: Literal["parse_conversation"]
    strict: bool = True
    system: str
    """Template of the system message; `{context}` stands for the section text."""

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""

        def reason(record: Record) -> str | None:
            others = sorted({role for role, _ in speaker_turns(str(record.fields["dialogue"]))} - set(_roles(self)))
            return f"speakers other than the known ones: {', '.join(others)}" if others else None

        def parsed(record: Record) -> Record:
            turns = speaker_turns(str(record.fields["dialogue"]))
            system = Message("system", self.system.replace("{context}", str(record.fields["section_text"])))
            return _with_messages(record, (system, *(Message(_roles(self)[who], text) for who, text in turns)))

        kept = _filtered(splits, reason)
        return replace(_mapped(kept.splits, parsed), dropped=kept.dropped)


class Relabel(_Step):
    """Ask the labeller again; the labels before are kept in `previous_labels`."""

    op: Literal["relabel"]

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        labelled = {name: label_records(records, config=tools.label, ask=tools.ask) for name, records in splits.items()}
        failures = [failure for part in labelled.values() for failure in part.failures]
        return Outcome(
            Splits(dev=labelled["dev"].records, test=labelled["test"].records),
            dropped=[Dropped(failure.record_id, f"no answer: {failure.kind}") for failure in failures],
            failures=failures,
        )


class MoveLast(_Step):
    """Move the last rows of the test split (in id order) to dev, with the rows of the groups they belong to."""

    op: Literal["move_last"]
    count: Annotated[int, Field(ge=1)]

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        if self.count > len(splits.test):
            raise UserError(
                f"move_last asks for {self.count} rows, but the test split has {len(splits.test)}.",
                where="data/versions.yaml",
                remedy="lower `count`.",
            )
        groups = {record.group for record in list(splits.test)[-self.count :]}
        moved = [record for record in splits.test if record.group in groups]
        kept = [record for record in splits.test if record.group not in groups]
        return Outcome(Splits(dev=[*splits.dev, *moved], test=kept), moved=[record.id for record in moved])


Step = Annotated[
    AddSystemPrompt
    | DropDuplicateSystemPrompt
    | ReplaceSystemPrompt
    | FormatTranscription
    | DropIfShorterThan
    | ParseConversation
    | Relabel
    | MoveLast,
    Field(discriminator="op"),
]

_SPEAKER = re.compile(r"^[ \t]*([A-Z\"'][\w\"']*)[ \t]*:[ \t]*", flags=re.MULTILINE)
"""A capitalised word and a colon at the start of a line; a time such as `10:30` starts with a digit."""
_STRICT_ROLES = {"Doctor": "assistant", "Patient": "user"}
_NOT_SPEAKERS = {"Note", "Context", "Example"}
"""Words that open a sentence inside a turn, with a colon, in the real files."""


def speaker_turns(dialogue: str) -> list[tuple[str, str]]:
    """(speaker, text) of each turn, in order; text before the first speaker counts as the speaker ''."""
    turns: list[tuple[str, str]] = []
    for line in dialogue.replace("\r\n", "\n").split("\n"):
        match = _SPEAKER.match(line)
        if match and match[1] not in _NOT_SPEAKERS:
            turns.append((match[1], line[match.end() :].strip()))
        elif turns:
            turns[-1] = (turns[-1][0], f"{turns[-1][1]}\n{line.rstrip()}".strip())
        elif line.strip():
            turns.append(("", line.strip()))
    return turns


def _roles(step: ParseConversation) -> dict[str, str]:
    if step.strict:
        return _STRICT_ROLES
    return _STRICT_ROLES | {"Guest_family": "user", "Guest_clinician": "assistant"}


def _with_messages(record: Record, messages: tuple[Message, ...]) -> Record:
    return replace(record, input=messages)


def _without_repeated_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    kept: list[Message] = []
    for message in messages:
        if message.role != "system" or message not in kept:
            kept.append(message)
    return tuple(kept)


def _mapped(splits: Splits, change: Callable[[Record], Record]) -> Outcome:
    return Outcome(Splits(dev=[change(r) for r in splits.dev], test=[change(r) for r in splits.test]))


def _filtered(splits: Splits, reason: Callable[[Record], str | None]) -> Outcome:
    dropped: list[Dropped] = []
    kept: dict[str, list[Record]] = {}
    for name, records in splits.items():
        kept[name] = [record for record in records if reason(record) is None]
        dropped += [Dropped(record.id, why) for record in records if (why := reason(record))]
    return Outcome(Splits(dev=kept["dev"], test=kept["test"]), dropped=dropped)
