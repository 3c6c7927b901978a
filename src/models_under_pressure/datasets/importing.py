"""Somebody's labelled table made records, in flat memory, with an account of every row.

Rows are spooled to a SQLite file in a temporary folder, which finds equal ids and texts and gives the rows back sorted;
what a label means is known when all of them have been read.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

from models_under_pressure.core.concept import STAKES, Classes
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import json_line, stable_uniform
from models_under_pressure.core.records import Label, Record, is_given, to_record, to_row
from models_under_pressure.datasets.columns import (
    Asked,
    Columns,
    choose_columns,
    conversation,
    label_meanings,
    label_word,
    words_in,
)
from models_under_pressure.datasets.overlap import OverlapConfig, Part, overlaps_between
from models_under_pressure.datasets.source import content_group, core_text, is_missing

_NO_COLUMN = "no label asked for"
"""What stands for the label of a control set's rows, which are all of the negative class."""
_SAMPLE = 200
"""Rows by whose values columns are guessed."""
_LISTED = 1000
"""Refused rows, and contradictions, that a report lists; all are counted."""
_COMPARED = 50_000
"""Most rows that are compared with the datasets in use: they are held in memory for it."""
_HEAD = ("ids", "inputs", "tools")
"""Columns that stand before the label."""


@dataclass
class Report:
    """What became of the rows of a source."""

    columns: dict[str, str] = field(default_factory=dict[str, str])
    """What was taken for what."""
    rows: int = 0
    """Rows read."""
    records: int = 0
    """Rows that became records."""
    meanings: dict[str, str] = field(default_factory=dict[str, str])
    """Value of the label column -> class."""
    labels: dict[str, int] = field(default_factory=dict[str, int])
    """Class -> records."""
    repaired: Counter[str] = field(default_factory=Counter[str])
    """What was mended -> rows."""
    refused: Counter[str] = field(default_factory=Counter[str])
    """Why rows are left out -> rows."""
    refused_rows: list[str] = field(default_factory=list[str])
    """Place and reason of the first thousand of them."""
    duplicates: int = 0
    """Records whose text an earlier one has, whatever its case and white space."""
    contradictory: int = 0
    """Texts that several records have with different labels."""
    contradictions: list[list[str]] = field(default_factory=list[list[str]])
    """Ids of the records of the first thousand of them."""


@dataclass(frozen=True, slots=True)
class Share:
    """The rows that fall to one of several parts; by default all."""

    low: float = 0.0
    high: float = 1.0
    seed: int = 0

    def has(self, cluster: str) -> bool:
        """Whether the rows of a group, or of a text, fall to this part: the draw depends on nothing else."""
        return (self.low, self.high) == (0.0, 1.0) or (
            self.low <= stable_uniform(self.seed, "import", cluster) < self.high
        )


class Spool(AbstractContextManager["Spool"]):
    """The rows of one table on disk, as records without their labels."""

    def __init__(self, folder: Path, classes: Classes | None = STAKES) -> None:
        """Open the file; `classes` are the words for labels, None takes the table's own."""
        self._asked_classes = classes
        self.classes = classes or STAKES
        self._database = sqlite3.connect(folder / "rows.sqlite")
        for line in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE rows (id TEXT UNIQUE, label TEXT, text TEXT, cluster TEXT, row TEXT)",
        ):
            self._database.execute(line)
        self._meanings: dict[str, Label] = {}
        self._database.create_function("class", 1, self._class_of, deterministic=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._database.close()

    def fill(self, rows: Iterator[tuple[str, dict[str, Any]]], asked: Asked, *, where: str) -> Report:
        """Read all rows.

        Args:
            rows: place and columns of each.
            asked: what the user says of the columns.
            where: name of the source, for messages.

        Raises:
            UserError: there are no rows; what a column or a label means is not plain; or one class is missing.
        """
        sample = list(islice(rows, _SAMPLE))
        if not sample:
            raise UserError("holds no rows.", where=where, remedy="check that this is the right file.")
        columns = choose_columns([row for _, row in sample], asked, where=where)
        report = Report(columns=columns.told())
        keep_label = columns.label is not None and (bool(asked.positive) or columns.label != "labels")
        for place, row in chain(sample, rows):
            try:
                self._add(row, columns, report, keep_label=keep_label, place=place)
            except UserError as error:
                _refuse(report, error.problem, place)
            report.rows += 1
        counted = self._database.execute("SELECT label, COUNT(*) FROM rows GROUP BY label")
        counts: dict[str, int] = dict(counted)
        if not counts:
            most, number = report.refused.most_common(1)[0]
            problem = f"no row can be used: {most} ({number:,} of {report.rows:,})"
            raise UserError(
                problem, where=where, remedy="name the right columns with --text or --messages and --label."
            )
        if columns.label is None:
            self._meanings = {_NO_COLUMN: Label.LOW}
        else:
            self._meanings = label_meanings(counts, columns.label, asked.positive, self._asked_classes, where=where)
            if self._asked_classes is None:
                self.classes = words_in(self._meanings)
        self._settle(report, counts)
        return report

    def rows(self, part: Share) -> Iterator[dict[str, Any]]:
        """Yield the rows of a record file, by id; those of one group, or else of one text, stay together."""
        for label, cluster, text in self._database.execute("SELECT label, cluster, row FROM rows ORDER BY id"):
            if part.has(cluster):
                row: dict[str, Any] = json.loads(text)
                head = {name: row.pop(name) for name in _HEAD if name in row}
                yield {**head, "labels": self.classes.word(self._meanings[label]), **row}

    def records(self, part: Share) -> Iterator[Record]:
        """Yield the records, by id."""
        for row in self.rows(part):
            yield to_record(row, where=f"record {row['ids']}", default_id="", classes=self.classes)

    def _class_of(self, word: str) -> str | None:
        return self.classes.word(self._meanings[word]) if word in self._meanings else None

    def _add(self, row: dict[str, Any], columns: Columns, report: Report, *, keep_label: bool, place: str) -> None:
        left = dict(row)
        label = left.pop(columns.label, None) if columns.label else _NO_COLUMN
        word = label_word(label)
        if word is None:
            raise UserError("it has no label.")
        said, was_python = conversation(left.pop(columns.text, None))
        if is_missing(said):
            raise UserError("it has no text.")
        if columns.is_conversation and isinstance(said, str):
            raise UserError("its conversation is no list of messages.")
        id_ = left.pop(columns.id, None) if columns.id else report.rows
        group = left.pop(columns.group, None) if columns.group else None
        for name in [name for name in ("ids", "inputs", "labels", "group") if name in left]:
            left[_free(f"original_{name}", left)] = left.pop(name)
        if keep_label and columns.label:
            left[_free("original_labels", left) if columns.label == "labels" else columns.label] = label
        left |= {"group": group} if is_given(group) else {}
        id_ = str(id_) if is_given(id_) else str(report.rows)
        record = to_record({"ids": id_, "inputs": said, **left}, where=place, default_id=id_)
        self._insert(record, word, report)
        report.repaired["Python lists read as messages"] += was_python

    def _insert(self, record: Record, word: str, report: Report) -> None:
        text = content_group(core_text(record))
        cluster = record.group if record.group != record.id else text
        content = to_row(record)
        wanted, number = record.id, 1
        while True:
            values = (content["ids"], word, text, cluster, json_line(content))
            if self._database.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?)", values).rowcount:
                break
            number += 1
            content["ids"] = f"{wanted}_{number}"
        report.repaired["ids that another row has got a number"] += number > 1
        report.records += 1

    def _settle(self, report: Report, counts: Mapping[str, int]) -> None:
        """Leave out what is neither class, then count."""
        ask, neither = self._database.execute, self.classes.ambiguous
        for (id_,) in ask("SELECT id FROM rows WHERE class(label) = ? ORDER BY rowid", (neither,)).fetchall():
            _refuse(report, f"its label is {neither}: neither class.", f"record {id_}")
            report.records -= 1
        ask("DELETE FROM rows WHERE class(label) = ?", (neither,))
        report.repaired = +report.repaired
        report.meanings = {word: self.classes.word(self._meanings[word]) for word in sorted(counts)}
        report.labels = dict(ask("SELECT class(label), COUNT(*) FROM rows GROUP BY class(label)"))
        ask("CREATE INDEX by_text ON rows (text, label, id)")
        (report.duplicates,) = ask("SELECT COUNT(*) - COUNT(DISTINCT text) FROM rows").fetchone()
        found = ask("SELECT text FROM rows GROUP BY text HAVING COUNT(DISTINCT class(label)) > 1 ORDER BY MIN(rowid)")
        texts = found.fetchall()
        report.contradictory = len(texts)
        for text in texts[:_LISTED]:
            ids = ask("SELECT id FROM rows WHERE text = ? ORDER BY rowid", text).fetchall()
            report.contradictions.append([id_ for (id_,) in ids])


def compare(
    records: Iterable[Record], in_use: Sequence[Part], *, name: str, config: OverlapConfig
) -> Counter[str] | None:
    """Dataset in use -> pairs of rows that it shares with new records; None if they are too many to be held for it.

    Args:
        records: the new ones.
        in_use: the datasets that must share nothing with them.
        name: name of the new dataset.
        config: what counts as overlap.
    """
    held = list(islice(records, _COMPARED + 1))
    if len(held) > _COMPARED:
        return None
    others = [replace(part, side="in use") for part in in_use]
    pairs = overlaps_between([*others, Part(name, "new", held, dataset=name)], config)
    return Counter(pair.right_split if pair.left_split == name else pair.left_split for pair in pairs)


def _refuse(report: Report, reason: str, place: str) -> None:
    report.refused[reason] += 1
    if len(report.refused_rows) < _LISTED:
        report.refused_rows.append(f"{place}: {reason}")


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name = f"original_{name}"
    return name
