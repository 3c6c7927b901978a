"""Tables as people have them: CSV, TSV, Parquet and JSON Lines, with fields of any length."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from models_under_pressure.core.errors import UserError, first_line
from models_under_pressure.core.files import decoded, jsonl_rows, open_text, read_jsonl


def read_table(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (row number from 1, row) of a table: CSV, TSV, Parquet, or else JSON Lines.

    Fields of a CSV are separated by commas, or by the semicolons or tabs of a header without any comma. Empty cells of
    CSV and TSV are null, and cells of digits in the label and scale columns are numbers.

    Raises:
        UserError: the file is missing or a folder, in another encoding or damaged.
    """
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
    elif path.suffix in (".csv", ".tsv"):
        with open_text(path, newline="") as stream:
            first = stream.readline()
            delimiter = "\t" if path.suffix == ".tsv" else _delimiter(first)
            yield from _table_rows(chain([first], stream), where=str(path), delimiter=delimiter)
    else:
        yield from read_jsonl(path)


def read_stream(stream: BinaryIO, *, where: str) -> Iterator[tuple[int, Any]]:
    """Yield (row number from 1, row) of a stream of JSON Lines, or of CSV or TSV with a header.

    A first line that names the column `inputs` or `messages` is a header.

    Raises:
        UserError: naming `where`: the bytes are in another encoding or damaged.
    """
    with decoded(stream, where=where, newline="") as text:
        first = next(text, "")
        delimiter = _delimiter(first)
        names = {name.strip().strip('"') for name in first.split(delimiter)}
        if {"inputs", "messages"} & names:
            yield from _table_rows(chain([first], text), where=where, delimiter=delimiter)
        else:
            yield from jsonl_rows(chain([first] if first else [], text), where=where)


def _table_rows(lines: Iterable[str], *, where: str, delimiter: str) -> Iterator[tuple[int, Any]]:
    for number, row in csv_rows(lines, where=where, delimiter=delimiter, strict=True):
        yield number, {name: _cell(name, text) for name, text in row.items()}


def read_csv(
    path: Path, columns: Sequence[str] = (), *, delimiter: str = ",", strict: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number from 1, row) of a CSV file; fields may have any length and keep their line endings.

    Args:
        path: path of the file.
        columns: columns that it must have.
        delimiter: what separates fields.
        strict: whether a quote in the wrong place, or one that is never closed, is refused.

    Raises:
        UserError: the file is missing, in another encoding, lacks a column, or a row has too few or too many fields.
    """
    with open_text(path, newline="") as stream:
        yield from csv_rows(stream, columns, where=str(path), delimiter=delimiter, strict=strict)


def csv_rows(
    lines: Iterable[str], columns: Sequence[str] = (), *, where: str, delimiter: str = ",", strict: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number from 1, row) of the lines of CSV; see `read_csv`.

    Raises:
        UserError: naming `where`: a column is missing, or a row has too few or too many fields.
    """
    remedy = "the file is cut, damaged or another one; repair it, or fetch it again."
    csv.field_size_limit(2**31 - 1)  # the default of 131,072 characters is shorter than some conversations
    reader = csv.DictReader(lines, delimiter=delimiter, strict=strict)
    number = 0
    try:
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            problem = f"columns {missing} are missing (found {reader.fieldnames})."
            raise UserError(problem, where=where, remedy=remedy)
        for number, row in enumerate(reader, start=1):
            if None in row or None in row.values():
                raise csv.Error("row has the wrong number of fields")
            yield number, row
    except csv.Error as error:
        place = f"{where}, row {number} (ending at line {reader.line_num})"
        raise UserError(f"{error}.", where=place, remedy=remedy) from None


def _delimiter(header: str) -> str:
    """Comma, or what a spreadsheet of a country with decimal commas writes instead."""
    return next((mark for mark in ",;\t" if mark in header), ",")


def _cell(name: str, text: str) -> str | int | None:
    is_number = name.startswith(("labels", "scale_label")) and text.strip().isdecimal()
    return int(text) if is_number else text or None


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    parquet: Any = import_module("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path)
        batches = (row for batch in file.iter_batches() for row in batch.to_pylist())
        yield from enumerate(batches, start=1)
    except FileNotFoundError:
        raise UserError("file not found.", where=str(path), remedy="check the path.") from None
    except (OSError, import_module("pyarrow").ArrowException) as error:
        problem = f"not a Parquet file ({first_line(error)})."
        raise UserError(problem, where=str(path), remedy="check the path, or write the file again.") from None
