"""What the parser of a source gives, and what the parsers share: tables, missing texts, names of equal content."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record

TOOL_LEAD_IN = "Result of the tool call:\n"
"""What a tool's result begins with when it becomes a user turn, which every chat template accepts."""
_NOT_TEXT = frozenset({"", "nan", "none", "null", "#name?", "#n/a"})
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
    return "\n".join(message.spoken for message in record.messages if message.role != "system")


def content_group(text: str) -> str:
    """Name of the rows that share this text."""
    return stable_hash(normalised(text))[:12]


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number from 1, row) of a CSV file; fields keep their line endings.

    Raises:
        UserError: the file is missing, lacks a column, or a row has too few or too many fields.
    """
    try:
        stream = path.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError:
        raise UserError("file not found.", where=str(path), remedy="run `dvc repro fetch`.") from None
    with stream:
        reader = csv.DictReader(stream)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise UserError(
                f"columns {missing} are missing (found {reader.fieldnames}).",
                where=str(path),
                remedy="the source has changed; fetch the pinned revision.",
            )
        for number, row in enumerate(reader, start=1):
            if None in row or None in row.values():
                raise UserError(
                    "row has the wrong number of fields.",
                    where=f"{path}, row {number} (ending at line {reader.line_num})",
                    remedy="the file is cut or damaged; fetch it again.",
                )
            yield number, row


def is_missing(value: object) -> bool:
    """Whether there is no text: nothing, or what a spreadsheet or a data frame writes in its place."""
    return value is None or (isinstance(value, float) and value != value) or str(value).strip().casefold() in _NOT_TEXT
