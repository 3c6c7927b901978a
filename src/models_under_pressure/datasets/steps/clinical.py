"""Steps for clinical notes and dialogues."""

import re
from dataclasses import replace
from typing import Literal

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Record
from models_under_pressure.datasets.files import Splits
from models_under_pressure.datasets.steps import BaseStep, EachRecord, Outcome, Tools, filtered, with_messages

_SPEAKER = re.compile(r"^[ \t]*[\"']?([A-Z]\w*)[ \t]*:[ \t]*")
"""A capitalised word and a colon at the start of a line, after a stray quote in one row of the source; a time such as
`10:30` starts with a digit."""
_STRICT_ROLES = {"Doctor": "assistant", "Patient": "user"}
_ROLES = _STRICT_ROLES | {"Guest_family": "user", "Guest_clinician": "assistant"}
_NOT_SPEAKERS = {"Note", "Context", "Example"}
"""Words that open a sentence inside a turn, with a colon, in the real files."""


class FormatTranscription(EachRecord):
    """Turn a medical note into a system message and one user message with its headings."""

    op: Literal["format_transcription"]
    system: str
    strip_description: bool = True
    """Whether the description loses its outer white space; the version of April 15 kept it."""

    def _changed(self, record: Record) -> Record:
        specialty, name, description = (
            str(record.fields[column] or "") for column in ("medical_specialty", "sample_name", "description")
        )
        text = (
            f"Medical Specialty: {specialty.strip()}\n"
            f"Sample Name: {name.strip()}\n\n"
            f"{record.fields['transcription']}\n---\n"
            f"DESCRIPTION: {description.strip() if self.strip_description else description}"
        )
        return with_messages(record, Message("system", self.system), Message("user", text))


class DropIfShorterThan(BaseStep):
    """Drop rows in which one column's text is shorter than another's."""

    op: Literal["drop_if_shorter_than"]
    column: str
    than: str

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""

        def reason(record: Record) -> str | None:
            shorter, longer = (str(record.fields.get(name) or "") for name in (self.column, self.than))
            return f"{self.column} is shorter than {self.than}" if len(shorter) < len(longer) else None

        return filtered(splits, reason)


class ParseConversation(EachRecord):
    """Cut a `Doctor: …` / `Patient: …` dialogue into turns after a system message.

    `strict` drops rows in which anybody else speaks.
    """

    op: Literal["parse_conversation"]
    strict: bool = True
    system: str
    """Template of the system message; `{context}` stands for the section text."""

    @property
    def _roles(self) -> dict[str, str]:
        return _STRICT_ROLES if self.strict else _ROLES

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        kept = filtered(splits, self._reason)
        return replace(super().run(kept.splits, tools), dropped=kept.dropped)

    def _reason(self, record: Record) -> str | None:
        others = {who for who, _ in speaker_turns(str(record.fields["dialogue"]))} - set(self._roles)
        return f"speakers other than the known ones: {', '.join(sorted(others))}" if others else None

    def _changed(self, record: Record) -> Record:
        turns = speaker_turns(str(record.fields["dialogue"]))
        system = Message("system", self.system.replace("{context}", str(record.fields["section_text"])))
        return with_messages(record, system, *(Message(self._roles[who], text) for who, text in turns))


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
