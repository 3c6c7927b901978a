"""Reading the CSV files of the sources."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from models_under_pressure.core.errors import UserError


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


_NOT_TEXT = frozenset({"", "nan", "none", "null", "#name?", "#n/a"})
"""What spreadsheets and data frames leave of a missing statement."""


def is_missing(value: object) -> bool:
    """Whether there is no text: nothing, or what a spreadsheet or a data frame writes in its place."""
    return value is None or (isinstance(value, float) and value != value) or str(value).strip().casefold() in _NOT_TEXT
