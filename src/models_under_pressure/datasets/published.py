"""The paper's published files, turned into this project's records, with an account of every row repaired."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from models_under_pressure.core.concept import STAKES, Classes
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_jsonl
from models_under_pressure.core.records import Record, to_record
from models_under_pressure.core.section import Section, load_yaml
from models_under_pressure.core.tables import read_csv
from models_under_pressure.datasets.distribution import label_counts
from models_under_pressure.datasets.source import (
    TOOL_LEAD_IN,
    content_group,
    core_text,
    is_missing,
    with_column,
)

CATALOG_PATH = Path("published/catalog.yaml")
SELECTED_PATH = Path("published/params.yaml")
PUBLISHED = Path("data/published")
"""Folder of their records, and of a report for each."""
Origin = Literal["r2", "hub"]
"""Cloudflare R2, or the Hugging Face hub."""
_ALIASES = {"id": "ids", "prompt": "inputs"}
"""Columns that some files name otherwise."""
_EMPTY_COLUMNS = ("scale_label_score",)
"""Null in every row of the files that have it: left by a way of scoring that was never used."""
_INTEGERS = ("scale_labels", "scale_label_confidence")


class PublishedFile(Section):
    """One of the paper's files."""

    url: str
    sha256: str | None = None
    """Content; null accepts what comes, and its hash stands in the report."""
    rows: int | None = None
    """Rows it must have, as far as they are known."""
    to: str
    """Where its records go, below data/published."""


class Copy(Section):
    """A file as one origin has it."""

    path: str
    """Below the origin's base."""
    sha256: str | None = None
    rows: int | None = None


class CatalogFile(Section):
    """A file, wherever it comes from."""

    to: str
    """Where its records go, below data/published."""
    used_as: str | None = None
    """The entry of `datasets` in data/versions.yaml that it can take the place of."""
    r2: Copy
    hub: Copy


class Catalog(Section):
    """Every published file."""

    bases: dict[Origin, str]
    files: dict[str, CatalogFile]

    def select(self, key: str, origin: Origin) -> PublishedFile:
        """The file as it is asked for.

        Raises:
            UserError: there is no such file.
        """
        if key not in self.files:
            remedy = f"use one of {', '.join(self.files)}."
            raise UserError(f"no published file {key!r}.", where=str(CATALOG_PATH), remedy=remedy)
        file = self.files[key]
        copy = file.r2 if origin == "r2" else file.hub
        return PublishedFile(url=self.bases[origin] + copy.path, sha256=copy.sha256, rows=copy.rows, to=file.to)


class Selected(Section):
    """The files that published/dvc.yaml fetches."""

    selected: dict[str, PublishedFile]


@dataclass(frozen=True, slots=True, order=True)
class Repair:
    """A row that is not as it was published."""

    id: str
    what: str


@dataclass(frozen=True, slots=True)
class Converted:
    """The records of a published file."""

    rows_read: int
    records: Sequence[Record]
    repairs: Sequence[Repair]
    """Sorted by id; a row without a text is dropped, every other one is kept."""


def convert(path: Path, classes: Classes = STAKES) -> Converted:
    """Read a published JSON Lines or CSV file.

    Args:
        path: the file.
        classes: the words for its labels; the paper's files have the paper's.

    Raises:
        UserError: the file is cut or has other columns, or a row has an unknown role or label.
    """
    records: list[Record] = []
    repairs: list[Repair] = []
    seen: Counter[str] = Counter()
    rows_read = 0
    for number, row in _rows(path):
        rows_read += 1
        where = f"{path}:{number}"
        columns = {_ALIASES.get(name, name): value for name, value in row.items()}
        known = str(columns.get("ids", number - 1))
        seen[known] += 1
        id_ = known if seen[known] == 1 else f"{known}_{seen[known]}"
        if id_ != known:
            repairs.append(Repair(id_, f"repeated id: {known} stands for another row already"))
        if "inputs" in columns and is_missing(columns["inputs"]):
            repairs.append(Repair(id_, f"dropped: its text is {columns['inputs']!r}"))
            continue
        record = to_record({**columns, "ids": id_}, where=where, default_id=id_, classes=classes)
        for mend in (_without_quotes, _without_tool_turns):
            record, what = mend(record)
            repairs += [Repair(id_, what)] if what else []
        records.append(_with_group(record))
    if not records:
        raise UserError("no row could be read.", where=str(path), remedy="download it again.")
    return Converted(rows_read, records, sorted(repairs))


def report(converted: Converted) -> dict[str, Any]:
    """Counts of rows, labels and repairs, and every repair, as JSON values."""
    counts = Counter(repair.what.split(":")[0] for repair in converted.repairs)
    return {
        "rows_read": converted.rows_read,
        "rows": len(converted.records),
        "labels": label_counts(converted.records),
        "repaired": dict(sorted(counts.items())),
        "repairs": [asdict(repair) for repair in converted.repairs],
    }


def load_catalog(path: Path = CATALOG_PATH) -> Catalog:
    """Read the catalog; an unknown, missing or mistyped key is a UserError with its line."""
    return load_yaml(path, Catalog)


def load_selected(path: Path = SELECTED_PATH) -> dict[str, PublishedFile]:
    """Read the selection; an unknown, missing or mistyped key is a UserError with its line."""
    return load_yaml(path, Selected).selected


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix == ".csv":
        for number, row in read_csv(path):
            yield number, {name: _cell(name, value, f"{path}:{number}") for name, value in row.items()}
        return
    for number, row in read_jsonl(path):
        if not isinstance(row, dict):
            raise UserError("row is not a JSON object.", where=f"{path}:{number}", remedy="download the file again.")
        values = cast("dict[str, Any]", row).items()
        yield number, {name: None if value != value else value for name, value in values if name not in _EMPTY_COLUMNS}


def _cell(name: str, value: str, where: str) -> Any:
    if value == "" or name not in _INTEGERS:
        return value or None
    try:
        return int(float(value))
    except ValueError:
        raise UserError(f"{name} is {value!r}, not a number.", where=where, remedy="download the file again.") from None


def _without_quotes(record: Record) -> tuple[Record, str | None]:
    """A text that is a JSON string, quotes and escapes included, as a model wrote it."""
    if not (isinstance(record.input, str) and record.input.startswith('"')):
        return record, None
    try:
        text = json.loads(record.input)
    except ValueError:
        return record, None
    return (replace(record, input=text), "quotes: removed around the text") if text.strip() else (record, None)


def _without_tool_turns(record: Record) -> tuple[Record, str | None]:
    """Tool turns as user turns that say so, as the source's parser makes them."""
    tools = sum(message.role == "tool" for message in record.messages)
    if not tools:
        return record, None
    messages = tuple(
        replace(turn, role="user", content=TOOL_LEAD_IN + turn.content) if turn.role == "tool" else turn
        for turn in record.messages
    )
    return replace(record, input=messages), f"tool turns: {tools} became user turns"


def _with_group(record: Record) -> Record:
    """Name the rows that belong together, as the sources' parsers do; pairs keep their own column."""
    if record.fields.get("pair_id") is not None:
        return record
    first = next((message.content for message in record.messages if message.role == "user"), "")
    is_sibling = {"category", "index"} <= record.fields.keys()
    return with_column(record, group=content_group(first if is_sibling and first else core_text(record)))
