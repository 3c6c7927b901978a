"""What the parser of a source gives, and what the parsers share: tables, missing texts, names of equal content."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record, is_given

TOOL_LEAD_IN = "Result of the tool call:\n"
"""What a tool's result begins with when it becomes a user turn, which every chat template accepts."""
INSTRUCTIONS = ("system", "developer")
"""Roles of turns that many conversations of a source share."""
_NOT_TEXT = frozenset({"nan", "none", "null", "#name?", "#n/a"})
"""What spreadsheets and data frames leave of a missing statement."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that is not in the result."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """The records of a source and the rows refused."""

    records: Sequence[Record]
    dropped: Sequence[Dropped] = ()


def normalised(text: str) -> str:
    """Text without differences of case and white space, for comparing content."""
    return " ".join(text.casefold().split())


def with_column(record: Record, **columns: object) -> Record:
    """The record with columns added or replaced."""
    return replace(record, fields={**record.fields, **columns})


def core_text(record: Record) -> str:
    """The source's own text, whatever a recipe wrapped around it: what split overlap is judged on."""
    for column in ("transcription", "dialogue"):
        if isinstance(text := record.fields.get(column), str) and text.strip():
            return text
    return "\n".join(message.spoken for message in record.messages if message.role not in INSTRUCTIONS)


def content_group(text: str) -> str:
    """Name of the rows that share this text."""
    return stable_hash(normalised(text))[:12]


def is_missing(value: object) -> bool:
    """Whether there is no text: nothing, or what a spreadsheet or a data frame writes in its place."""
    return not is_given(value) or str(value).strip().casefold() in _NOT_TEXT
