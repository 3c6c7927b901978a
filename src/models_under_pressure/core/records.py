"""Conversations and their labels, and the JSON Lines files that hold them."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_under_pressure.core.concept import STAKES, Classes
from models_under_pressure.core.concept import Label as Label
from models_under_pressure.core.conversation import Message, message_row, read_message, read_tools, tools_text
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import is_list, is_object, json_line, stable_hash, write_jsonl
from models_under_pressure.core.tables import read_table

_INTEGER_LABELS = {0: Label.LOW, 1: Label.HIGH, 2: Label.AMBIGUOUS}
"""Older files hold integers."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a dataset: a conversation, its label if it has one, and the source's own columns."""

    id: str
    input: str | tuple[Message, ...]
    label: Label | None = None
    scale_label: int | None = None
    """Rating on the labeller's scale, 1 (lowest) to 10."""
    scale_label_confidence: int | None = None
    """The labeller's confidence, 1 to 10."""
    scale_label_explanation: str | None = None
    scale_label_model: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The source's own columns."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Definitions of the tools that the assistant may call."""
    classes: Classes = STAKES
    """The words for the label."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation; a plain string is one user turn."""
        return (Message("user", self.input),) if isinstance(self.input, str) else self.input

    @property
    def text(self) -> str:
        """The conversation as `role: content` lines, its tools before it; a plain string without tools as it is."""
        if isinstance(self.input, str) and not self.tools:
            return self.input
        told = [tools_text(self.tools)] if self.tools else []
        return "\n".join(told + [f"{message.role}: {message.spoken}" for message in self.messages])

    @property
    def group(self) -> str:
        """Name of the rows that must stay in one split with this one; its own id if it is alone."""
        return next((str(value) for value in map(self.fields.get, ("group", "pair_id")) if is_given(value)), self.id)

    @property
    def label_word(self) -> str | None:
        """The label as files and readers have it; None where there is none."""
        return None if self.label is None else self.classes.word(self.label)

    @property
    def is_high(self) -> bool:
        """Whether the label is the positive class.

        Raises:
            ValueError: the record is ambiguous or not labelled, so neither answer would be right.
        """
        if self.label not in (Label.LOW, Label.HIGH):
            raise ValueError(f"record {self.id} is {self.label_word or 'not labelled'}")
        return self.label is Label.HIGH


_COLUMNS = {
    "scale_labels": "scale_label",
    "scale_label_confidence": "scale_label_confidence",
    "scale_label_explanation": "scale_label_explanation",
    "scale_label_model": "scale_label_model",
}
"""Column on disk -> attribute (the published files mix singular and plural)."""


def classes_of(records: Sequence[Record]) -> Classes:
    """The words for the labels of some records; the paper's where there are none."""
    return records[0].classes if records else STAKES


def is_given(value: object) -> bool:
    """Whether a cell says something: 0 and False do; None, NaN and blank text do not."""
    return not (value is None or _is_nan(value) or not str(value).strip())


def read_records(path: Path, classes: Classes | None = STAKES) -> list[Record]:
    """Read a dataset of JSON Lines, CSV, TSV or Parquet; ids default to the row number from 0.

    Args:
        path: the file.
        classes: the words for its labels; None leaves labels unread, as a column like any other.

    Raises:
        UserError: naming the file and line of a row that is malformed, empty, repeated, or labelled with other words.
    """
    return collect_records(read_table(path), where=str(path), classes=classes)


def collect_records(
    rows: Iterable[tuple[int, object]], *, where: str, classes: Classes | None = STAKES
) -> list[Record]:
    """The records of numbered JSON Lines rows.

    Raises:
        UserError: see `read_records`; naming `where`.
    """
    records = [
        to_record(row, where=f"{where}:{number}", default_id=str(number - 1), classes=classes) for number, row in rows
    ]
    repeated = [id_ for id_, count in Counter(record.id for record in records).items() if count > 1]
    if repeated:
        raise UserError(
            f"{len(repeated)} ids occur more than once, first {repeated[0]!r}.",
            where=where,
            remedy="give every row its own `ids` value.",
        )
    return records


def stream_records(rows: Iterable[tuple[int, object]], *, where: str) -> Iterator[Record]:
    """Yield the record of each numbered row as soon as the row is there.

    Raises:
        UserError: naming the row that is malformed, empty, wrongly labelled or has the id of an earlier one.
    """
    seen = set[str]()
    for number, row in rows:
        record = to_record(row, where=f"{where}:{number}", default_id=str(number - 1))
        if record.id in seen:
            remedy = "give every row its own `ids` value."
            raise UserError(f"the id {record.id!r} occurred before.", where=f"{where}:{number}", remedy=remedy)
        seen.add(record.id)
        yield record


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a JSON Lines dataset atomically: UTF-8, one row a line, sorted by id."""
    write_jsonl(path, (to_row(record) for record in sorted(records, key=lambda record: record.id)))


def to_row(record: Record) -> dict[str, Any]:
    """The columns of a record on disk."""
    row: dict[str, Any] = {"ids": record.id}
    if isinstance(record.input, str):
        row["inputs"] = record.input
    else:
        row["inputs"] = [message_row(message) for message in record.input]
    if record.tools:
        row["tools"] = list(record.tools)
    if record.label is not None:
        row["labels"] = record.label_word
    for column, attribute in _COLUMNS.items():
        if (value := getattr(record, attribute)) is not None:
            row[column] = value
    return row | dict(record.fields)


def to_record(row: object, *, where: str, default_id: str, classes: Classes | None = STAKES) -> Record:
    """The record that the columns of one row hold.

    Raises:
        UserError: naming `where`: the row is malformed, empty or wrongly labelled.
    """
    if not is_object(row):
        raise UserError("row is not a JSON object.", where=where, remedy="write one object per line.")
    columns: dict[str, Any] = {name: None if _is_nan(value) else value for name, value in row.items()}
    _check_json(columns, where=where)
    if "inputs" not in columns and "messages" in columns:
        columns["inputs"] = columns.pop("messages")
    if "inputs" not in columns:
        raise UserError(
            f"row has no `inputs` or `messages` column (columns: {', '.join(sorted(columns))}).",
            where=where,
            remedy="rename the column that holds the conversation to `inputs`.",
        )
    identifier = columns.pop("ids", default_id)
    known = {attribute: columns.pop(column, None) for column, attribute in _COLUMNS.items()}
    return Record(
        id=str(identifier),
        input=_input(columns.pop("inputs"), where=where),
        label=None if classes is None else _label(columns.pop("labels", None), classes, where=where),
        **known,
        tools=read_tools(columns.pop("tools", None), where=where),
        fields=columns,
        classes=classes or STAKES,
    )


def _check_json(value: object, *, where: str) -> None:
    try:
        json_line(value).encode()
    except UnicodeEncodeError:
        problem = "row holds half of a character (a lone surrogate)."
        raise UserError(problem, where=where, remedy="repair the text, or delete the row.") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"row cannot be kept as JSON ({error}).", where=where, remedy="repair its columns.") from None


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def content_hash(records: Iterable[Record]) -> str:
    """SHA-256 (hex) of the conversations with their ids, in any order: the identity of a dataset's content."""
    return stable_hash(sorted([record.id, stable_hash(*_said(to_row(record)))] for record in records))


def _said(row: Mapping[str, Any]) -> list[Any]:
    return [row[column] for column in ("inputs", "tools") if column in row]


def _label(value: object, classes: Classes, *, where: str) -> Label | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value in _INTEGER_LABELS:
        return _INTEGER_LABELS[value]
    if isinstance(value, str) and (label := classes.label(value)) is not None:
        return label
    remedy = f"use one of {', '.join(classes.words)}, or choose its `concept` in params.yaml."
    raise UserError(f"unknown label {value!r}.", where=where, remedy=remedy)


def _input(value: object, *, where: str) -> str | tuple[Message, ...]:
    if isinstance(value, str):
        decoded = _double_encoded(value)
        if decoded is None:
            if not value.strip():
                raise UserError("conversation is empty.", where=where, remedy="delete the row.")
            return value
        value = decoded
        _check_json(value, where=where)
    if not is_list(value):
        kind = "missing" if value is None else f"a {type(value).__name__}"
        raise UserError(f"conversation is {kind}.", where=where, remedy="give a string or a list of messages.")
    messages = tuple(read_message(item, where=where) for item in value)
    if not any(message.spoken.strip() for message in messages):
        raise UserError("conversation is empty.", where=where, remedy="delete the row.")
    return messages


def _double_encoded(value: str) -> list[object] | None:
    """The list of messages inside a string, as the published files hold it; None if it is plain text."""
    if not value.lstrip().startswith("["):
        return None
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if is_list(decoded) and all(is_object(item) and "role" in item for item in decoded):
        return decoded
    return None
