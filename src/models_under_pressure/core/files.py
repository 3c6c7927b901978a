"""Files written atomically and read with refusals that help, canonical JSON, content hashes."""

import codecs
import csv
import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeGuard, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from models_under_pressure.core.errors import UserError

M = TypeVar("M", bound=BaseModel)


class Frozen(BaseModel):
    """A description: its fields do not change; fields that it does not know, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@contextmanager
def atomic_path(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary path beside `path` that takes its name when the block succeeds.

    A reader sees the old file or the whole new one, never a part; a failing block leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        current = os.umask(0)
        os.umask(current)
        temporary.chmod(0o666 & ~current)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: Path, value: object) -> None:
    """Write readable JSON atomically: sorted keys, two-space indent, so that `git diff` reads well."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON file.

    Raises:
        UserError: the file is missing or is not JSON, which has neither NaN nor infinities.
    """
    try:
        return json.loads(path.read_bytes(), parse_float=_finite, parse_constant=_finite)
    except FileNotFoundError:
        raise UserError("file not found.", where=str(path), remedy="run `dvc repro` or `dvc pull`.") from None
    except RecursionError:
        raise UserError("not JSON (it is nested too deep).", where=str(path), remedy="restore the file.") from None
    except ValueError as error:
        raise UserError(f"not JSON ({error}).", where=str(path), remedy="restore the file.") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.20} is not a finite number")
    return value


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON or YAML value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON or YAML value is a list."""
    return isinstance(value, list)


def json_line(value: object) -> str:
    """One JSON Lines row: UTF-8 as it is, keys in the order given."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def write_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Write JSON Lines atomically."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json_line(row) + "\n")


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) of each line.

    Raises:
        UserError: the file is missing or a folder, is not UTF-8 (or UTF-16 with its mark), or a line is blank or not
            JSON (a cut download, a merge marker).
    """
    with open_text(path) as stream:
        yield from jsonl_rows(stream, where=str(path))


@contextmanager
def open_text(path: Path, *, newline: str | None = None) -> Generator[IO[str]]:
    """Open a text file in UTF-8, with or without its mark, or in UTF-16 with its mark.

    Raises:
        UserError: the file is missing, a folder, or in another encoding.
    """
    try:
        with path.open("rb") as stream, decoded(stream, where=str(path), newline=newline) as text:
            yield text
    except FileNotFoundError:
        remedy = "check the path; a file of the pipeline comes with `dvc repro` or `dvc pull`."
        raise UserError("file not found.", where=str(path), remedy=remedy) from None
    except IsADirectoryError:
        raise UserError("is a folder.", where=str(path), remedy="name a file in it.") from None


@contextmanager
def decoded(stream: BinaryIO, *, where: str, newline: str | None = None) -> Generator[IO[str]]:
    """The text of a stream of bytes in UTF-8, with or without its mark, or in UTF-16 with its mark.

    Raises:
        UserError: naming `where`: the bytes are in another encoding.
    """
    buffered = io.BufferedReader(cast("io.RawIOBase", stream))
    start = buffered.peek(2)[:2]
    encoding = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        yield io.TextIOWrapper(buffered, encoding=encoding, newline=newline)
    except UnicodeError as error:
        problem = f"not UTF-8, nor UTF-16 with a byte order mark ({error})."
        raise UserError(problem, where=where, remedy="save the file as UTF-8.") from None


def jsonl_rows(lines: Iterable[str], *, where: str) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) of each line; blank lines at the end are no rows.

    Raises:
        UserError: naming `where`: a line is blank or not JSON.
    """
    blank = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            blank = blank or number
            continue
        if blank:
            raise _not_json("it is blank", f"{where}:{blank}")
        try:
            value = json.loads(line)
        except RecursionError:
            raise _not_json("it is nested too deep", f"{where}:{number}") from None
        except ValueError as error:
            raise _not_json(str(error), f"{where}:{number}") from None
        yield number, value


def _not_json(reason: str, where: str) -> UserError:
    remedy = "repair or delete this line; each line holds one JSON object."
    return UserError(f"line is not JSON ({reason}).", where=where, remedy=remedy)


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
        problem = f"not a Parquet file ({str(error).splitlines()[0]})."
        raise UserError(problem, where=str(path), remedy="check the path, or write the file again.") from None


def canonical_json(value: object) -> str:
    """JSON with one spelling per value: sorted keys, ASCII, no spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def stable_hash(*parts: object) -> str:
    """SHA-256 (hex) of the canonical JSON of `parts`: equal in every process and on every machine."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def stable_uniform(*parts: object) -> float:
    """A number in [0, 1) drawn by `stable_hash`: a seeded draw that no other draw can shift."""
    return int(stable_hash(*parts)[:13], 16) / 16**13


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_description(
    path: Path,
    model: type[M],
    *,
    version: int,
    what: str,
    remedy: str,
    upgrade: Callable[[dict[str, Any]], None] = lambda content: None,
) -> M:
    """Read a description whose `format` is the one that this code reads.

    Args:
        path: path of the JSON file.
        model: type of the description.
        version: number of the format.
        what: name of the thing described, for messages.
        remedy: command or act that makes it anew, for messages.
        upgrade: function that adds what older files of the same format leave out.

    Raises:
        UserError: the file is missing or damaged, or of another format.
    """
    content = read_json(path)
    found = content.get("format") if is_object(content) else None
    if found != version:
        raise UserError(
            f"the {what} has the format {found}, this code reads {version}.",
            where=str(path),
            remedy=f"{remedy} with this version of the project.",
        )
    upgrade(content)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"not a {what} (`{place}`: {first['msg']}).", where=str(path), remedy=f"{remedy}.") from None


def check_weights(path: Path, sha256: str, *, what: str, remedy: str) -> None:
    """Refuse a weights file that is not the one described.

    Raises:
        UserError: it is missing, damaged, or of another description.
    """
    if not path.exists():
        raise UserError("file not found.", where=str(path), remedy="run `dvc repro` or `dvc pull`.")
    if file_hash(path) != sha256:
        raise UserError(
            f"the weights are damaged, or of another {what} than the description beside them.",
            where=str(path),
            remedy=f"run `dvc checkout`, or {remedy}.",
        )
