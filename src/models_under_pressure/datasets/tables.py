"""Somebody's table, wherever it lies: a file, a folder, an address, or a dataset of the Hugging Face hub."""

import gzip
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, is_list, is_object, open_text, stable_hash
from models_under_pressure.core.tables import read_table
from models_under_pressure.datasets.origins import download

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json", ".txt")
"""Endings of files that are read, packed with gzip (`.gz`) or not."""
SOURCE = "source_dataset"
"""Column of the file that a row is from, as `train.weights` and the groups of metrics read it."""
_SPREADSHEETS = (".xlsx", ".xls", ".ods")


@dataclass(frozen=True, slots=True)
class Pinned:
    """What the user says of the version of a source."""

    sha256: str | None = None
    """Content of the file at an address."""
    revision: str | None = None
    """Commit, tag or branch of a hub dataset; None is its main branch."""
    config: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The files of a table, on this machine."""

    files: Sequence[Path]
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Where they come from, and the hash or the commit that they have."""
    names_files: bool = False
    """Whether each row says which of the files it is from."""


def open_source(source: str, pinned: Pinned, *, downloads: Path) -> Source:
    """Bring the files of a source to this machine.

    Args:
        source: path of a file or a folder, an http(s) address, or `hf://owner/name`.
        pinned: which version of it is meant.
        downloads: folder for what has to be downloaded, where a download that broke off goes on.

    Raises:
        UserError: there is no such source, it is not the one pinned, or it cannot be read.
    """
    if source.startswith("hf://"):
        from models_under_pressure.datasets.hub import fetch_dataset

        return Source(*fetch_dataset(source.removeprefix("hf://"), pinned))
    if source.startswith(("http://", "https://")):
        address = urlsplit(source)
        path = downloads / f"{stable_hash(source)[:16]}{_ending(Path(address.path))}"
        found = download(source, path, sha256=pinned.sha256)
        public = address._replace(netloc=address.netloc.rpartition("@")[2], query="", fragment="").geturl()
        return Source([path], {"source": public, "sha256": found})
    path = Path(source)
    if not path.exists():
        raise UserError("no such file or folder.", where=source, remedy="check the path.")
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if _is_table(one, below=path))
    if not files:
        remedy = f"name a folder of {', '.join(SUFFIXES)}."
        raise UserError("the folder holds no table.", where=source, remedy=remedy)
    name = path.name if path.is_absolute() else path.as_posix()
    hashes = {one.relative_to(path).as_posix(): file_hash(one) for one in files}
    sha256 = file_hash(path) if path.is_file() else stable_hash(hashes)
    if pinned.sha256 not in (None, sha256):
        problem = f"content has sha256 {sha256}, but {pinned.sha256} is asked for."
        raise UserError(problem, where=source, remedy="take the right file, or correct --sha256.")
    return Source(files, {"source": name, "sha256": sha256}, names_files=len(files) > 1)


def source_rows(source: Source, *, unpacked: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (file and row number from 1, row) of every file; the files are read row by row.

    A row of a folder of several tables gets the name of its file as `source_dataset`, unless it has such a column.

    Args:
        source: the files.
        unpacked: folder for files that are packed.

    Raises:
        UserError: a file is damaged, is no table, or holds something else than rows.
    """
    for file in source.files:
        for number, row in _rows(_unpacked(file, unpacked), label=file.parent.name):
            where = f"{file.name}:{number}"
            if not is_object(row):
                raise UserError("row is not an object with named columns.", where=where, remedy="name the columns.")
            named = {str(name): _plain(value) for name, value in row.items()}
            told = {SOURCE: file.name.partition(".")[0]} if source.names_files and file.suffix != ".txt" else {}
            yield where, told | named


def _rows(path: Path, *, label: str) -> Iterator[tuple[int, Any]]:
    if path.suffix in _SPREADSHEETS:
        raise UserError("is a spreadsheet.", where=str(path), remedy="save the sheet as CSV (UTF-8).")
    if path.suffix == ".txt":
        with open_text(path) as stream:
            yield 1, {"ids": f"{label}/{path.stem}", "text": stream.read(), "label": label}
    elif path.suffix == ".json" and (values := _json_array(path)) is not None:
        yield from enumerate(values, start=1)
    else:
        yield from read_table(path)


def _json_array(path: Path) -> list[Any] | None:
    """The rows of a file that is one JSON array, all at once; None if it holds a row a line."""
    with open_text(path) as stream:
        start = stream.read(1000).lstrip()
        if not start.startswith("["):
            return None
        stream.seek(0)
        try:
            found = json.loads(stream.read().lstrip("\ufeff"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"not JSON ({error}).", where=str(path), remedy="repair the file.") from None
    return found if is_list(found) else None


def _plain(value: object) -> object:
    """A value of Parquet as one that JSON knows."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if is_object(value):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in cast("list[object]", value)] if isinstance(value, list) else value


def _unpacked(path: Path, folder: Path) -> Path:
    if path.suffix != ".gz":
        return path
    target = folder / f"{stable_hash(str(path))[:16]}_{path.stem}"
    try:
        with gzip.open(path) as stream, target.open("wb") as plain:
            shutil.copyfileobj(stream, plain, length=1 << 20)
    except (gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"not a whole gzip file ({error}).", where=str(path), remedy="fetch it again.") from None
    return target


def _is_table(path: Path, *, below: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(below).parts)
    return path.is_file() and not is_hidden and is_table_name(path.name)


def is_table_name(name: str) -> bool:
    """Whether a file of this name is read as a table."""
    return name.removesuffix(".gz").endswith(SUFFIXES)


def _ending(path: Path) -> str:
    """The last suffix, with the one before it of a packed file."""
    return "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:])
