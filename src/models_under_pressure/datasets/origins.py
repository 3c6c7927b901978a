"""Where the published sources come from, and how what is published becomes the files that the parsers read."""

import csv
import gzip
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import atomic_path, file_hash, json_line, read_jsonl, stable_hash
from models_under_pressure.core.section import read
from models_under_pressure.datasets.download import download, pinned

LINEAGE_PATH = Path("data/versions.yaml")
"""Sources, versions, and the datasets in use."""


class OriginFile(BaseModel):
    """One published file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Address at a fixed revision."""
    sha256: str | None = None
    """Content; null accepts what comes and prints its hash, to be pinned here."""
    to: str
    """File that it becomes; several with one name are joined in order, `.gz` unpacked, tables turned into CSV."""


class Source(BaseModel):
    """Where a dataset is published, and how it is divided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    test_fraction: float = Field(ge=0, le=1)
    """Chance of a group to be in the test split; 1: there is no dev split."""
    limit: int | None = Field(default=None, ge=1)
    """Most rows drawn per split."""
    files: tuple[OriginFile, ...] = ()
    """Files that `fetch.source: hub` downloads."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits."""
        return ("test",) if self.test_fraction == 1 else ("dev", "test")


def load_source(name: str) -> Source:
    """The source of that name, from data/versions.yaml; nothing else of the file is looked at.

    Raises:
        UserError: there is none, or a source is described wrongly.
    """
    sources = read("sources", dict[str, Source], LINEAGE_PATH)
    if name not in sources:
        raise UserError(f"no source {name!r}.", where=str(LINEAGE_PATH), remedy=f"use one of {', '.join(sources)}.")
    return sources[name]


def fetch_origin(files: tuple[OriginFile, ...], folder: Path, *, downloads: Path) -> list[str]:
    """Download, verify and convert the files of one source.

    Args:
        files: what to download.
        folder: where the source's files go.
        downloads: where pieces lie until all have come, so that a second run goes on where the first one stopped.

    Returns:
        A line `url sha256` for each file that is not pinned yet.

    Raises:
        UserError: the source cannot be downloaded (it has no address), or a download fails.
    """
    if not files:
        raise UserError(
            "this source has no address (it needs a login).",
            where="data/versions.yaml",
            remedy=f"put its files into data/own/{folder.name}.",
        )
    unpinned: list[str] = []
    parts: dict[str, list[Path]] = {}
    for file in files:
        piece = downloads / f"{stable_hash(file.url)[:16]}{Path(file.url).suffix}"
        found = file_hash(piece) if pinned(piece, file.sha256) else download(file.url, piece, sha256=file.sha256)
        if file.sha256 is None:
            unpinned.append(f"{file.url} {found}")
        parts.setdefault(file.to, []).append(piece)
    for name, pieces in parts.items():
        with atomic_path(folder / name) as target:
            _join(pieces, target, is_table=name.endswith(".csv"))
    for piece in (piece for pieces in parts.values() for piece in pieces):
        piece.unlink()
    return unpinned


def _join(pieces: list[Path], target: Path, *, is_table: bool) -> None:
    if is_table and pieces[0].suffix != ".csv":
        rows = [row for piece in pieces for row in _rows(piece)]
        is_numbered = pieces[0].suffix == ".parquet" or "id" in rows[0]
        _to_csv(rows if is_numbered else [{"id": number, **row} for number, row in enumerate(rows)], target)
        return
    with target.open("wb") as stream:
        for piece in pieces:
            with gzip.open(piece) if piece.suffix == ".gz" else piece.open("rb") as source:
                shutil.copyfileobj(source, stream)


def _rows(piece: Path) -> list[dict[str, Any]]:
    if piece.suffix == ".jsonl":
        return [row for _, row in read_jsonl(piece)]
    import pyarrow.parquet as parquet

    return parquet.read_table(piece).to_pylist()


def _to_csv(rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, list | dict):
        return json_line(value)
    return "" if value is None else value
