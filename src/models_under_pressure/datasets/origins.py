"""Where the published sources come from, and how what is published becomes the files that the parsers read."""

import csv
import gzip
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from models_under_pressure.datasets.download import download
from models_under_pressure.errors import UserError
from models_under_pressure.files import atomic_path


class OriginFile(BaseModel):
    """One published file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Address at a fixed revision."""
    sha256: str | None = None
    """Content; null accepts what comes and prints its hash, to be pinned here."""
    to: str
    """File that it becomes or, for several `.gz` parts, is appended to."""


def fetch_origin(files: tuple[OriginFile, ...], folder: Path) -> list[str]:
    """Download, verify and convert the files of one source.

    Returns:
        A line `url sha256` for each file that is not pinned yet.

    Raises:
        UserError: the source cannot be downloaded (it has no address), or a download fails.
    """
    if not files:
        raise UserError(
            "this source has no address (it needs a login).",
            where=f"data/versions.yaml: {folder.name}",
            remedy="put its file into a folder and set `fetch.source` in params.yaml to that folder.",
        )
    unpinned: list[str] = []
    parts: dict[str, list[Path]] = {}
    for number, file in enumerate(files):
        part = folder / f".{number}{Path(file.url).suffix}"
        found = download(file.url, part, sha256=file.sha256)
        if file.sha256 is None:
            unpinned.append(f"{file.url} {found}")
        parts.setdefault(file.to, []).append(part)
    for name, pieces in parts.items():
        with atomic_path(folder / name) as target:
            _join(pieces, target)
    for piece in (piece for pieces in parts.values() for piece in pieces):
        piece.unlink()
    return unpinned


def _join(pieces: list[Path], target: Path) -> None:
    if pieces[0].suffix == ".parquet":
        _to_csv(pieces, target)
        return
    with target.open("wb") as stream:
        for piece in pieces:
            with gzip.open(piece) if piece.suffix == ".gz" else piece.open("rb") as source:
                shutil.copyfileobj(source, stream)


def _to_csv(pieces: list[Path], target: Path) -> None:
    import pyarrow.parquet as parquet

    with target.open("w", encoding="utf-8", newline="") as stream:
        writer: csv.DictWriter[str] | None = None
        for row in (row for piece in pieces for row in parquet.read_table(piece).to_pylist()):
            if writer is None:
                writer = csv.DictWriter(stream, fieldnames=list(row))
                writer.writeheader()
            writer.writerow({name: "" if value is None else value for name, value in row.items()})
