"""Where the published sources come from, and how what is published becomes the files that the parsers read."""

import csv
import gzip
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import atomic_path, file_hash, json_line, stable_hash, write_text
from models_under_pressure.core.section import Section, read
from models_under_pressure.core.tables import read_table

LINEAGE_PATH = Path("data/versions.yaml")
"""Sources, versions, and the datasets in use."""
DOWNLOADS = Path("data/downloads")
"""Pieces of files that are still coming; kept by no stage, so that a stopped download can go on."""
_TIMEOUT = 60.0
"""Seconds without a byte before a connection counts as dead."""
_ATTEMPTS = 5


class OriginFile(Section):
    """One published file."""

    url: str
    """Address at a fixed revision."""
    sha256: str | None = None
    """Content; null accepts what comes and prints its hash, to be pinned here."""
    to: str
    """File that it becomes; several with one name are joined in order, `.gz` unpacked, tables turned into CSV."""


class Source(Section):
    """Where a dataset is published, and how it is divided."""

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
        problem, remedy = "this source has no address (it needs a login).", "put its files into data/own/"
        raise UserError(problem, where=str(LINEAGE_PATH), remedy=f"{remedy}{folder.name}.")
    brought = [(file, *bring(file.url, downloads, sha256=file.sha256)) for file in files]
    for name in dict.fromkeys(file.to for file in files):
        with atomic_path(folder / name) as target:
            _join([piece for file, piece, _ in brought if file.to == name], target, is_table=name.endswith(".csv"))
    for _, piece, _ in brought:
        piece.unlink(missing_ok=True)
    return [f"{file.url} {found}" for file, _, found in brought if file.sha256 is None]


def bring(url: str, folder: Path, *, sha256: str | None) -> tuple[Path, str]:
    """Download a file into `folder`, unless it is there and is the one pinned; its path there and its SHA-256.

    Raises:
        UserError: see `download`.
    """
    piece = folder / f"{stable_hash(url)[:16]}{Path(url).suffix}"
    found = file_hash(piece) if piece.is_file() else None
    if found is None or sha256 not in (None, found):
        found = download(url, piece, sha256=sha256)
    return piece, found


def download(url: str, path: Path, *, sha256: str | None, pause: float = 0.5) -> str:
    """Fetch `url` into `path`; a partial download beside it (`.part`) is continued.

    A part is continued only if what comes is verified in the end: by the hash, or by the server, which is told which
    version the part is of.

    Args:
        url: where the file is.
        path: where it goes; untouched unless all of it has come and is right.
        sha256: what it must be; None accepts what comes.
        pause: seconds before the second attempt, doubled before each further one.

    Returns:
        The SHA-256 (hex) of the file.

    Raises:
        UserError: the server refuses or stays away, or the content is not the one pinned.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    _fetch(url, partial, is_verified=sha256 is not None, pause=pause)
    found = file_hash(partial)
    _version(partial).unlink(missing_ok=True)
    if sha256 is not None and found != sha256:
        partial.unlink()
        remedy = "the origin has changed or the file was damaged on its way; try again, then review and re-pin it."
        raise UserError(f"content has sha256 {found}, but {sha256} is pinned.", where=url, remedy=remedy)
    partial.replace(path)
    return found


def _fetch(url: str, partial: Path, *, is_verified: bool, pause: float) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _continue(url, partial, is_verified=is_verified)
        except urllib.error.HTTPError as error:
            if attempt == _ATTEMPTS or (error.code < 500 and error.code not in (408, 429)):
                remedy = "check the address and the revision; what needs a login must be downloaded by hand."
                raise UserError(f"the server answered {error.code} {error.reason}.", where=url, remedy=remedy) from None
        except (OSError, http.client.HTTPException) as error:
            if attempt == _ATTEMPTS:
                remedy = "run the command again: it goes on where it stopped."
                problem = f"the download broke off {_ATTEMPTS} times ({error})."
                raise UserError(problem, where=url, remedy=remedy) from None
        time.sleep(pause * 2 ** (attempt - 1))


def _continue(url: str, partial: Path, *, is_verified: bool) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    version = _version(partial).read_text() if _version(partial).exists() else ""
    headers: dict[str, str] = {}
    if have and (version or is_verified):
        headers["Range"] = f"bytes={have}-"
        if version:
            headers["If-Range"] = version
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and "Range" in headers:
            return
        raise
    with response:
        if etag := response.headers.get("ETag"):
            write_text(_version(partial), etag)
        with partial.open("ab" if response.status == 206 else "wb") as stream:
            shutil.copyfileobj(response, stream, length=1 << 20)
        expected = response.headers.get("Content-Length")
        start = have if response.status == 206 else 0
    if expected is not None and partial.stat().st_size != start + int(expected):
        raise ConnectionError(f"{partial.stat().st_size - start} of {expected} bytes came")


def _version(partial: Path) -> Path:
    """Where the server's name for the version of a partial download is kept."""
    return partial.with_name(partial.name + ".etag")


def _join(pieces: list[Path], target: Path, *, is_table: bool) -> None:
    if is_table and pieces[0].suffix != ".csv":
        rows = [row for piece in pieces for _, row in read_table(piece)]
        is_numbered = pieces[0].suffix == ".parquet" or "id" in rows[0]
        _to_csv(rows if is_numbered else [{"id": number, **row} for number, row in enumerate(rows)], target)
        return
    with target.open("wb") as stream:
        for piece in pieces:
            with gzip.open(piece) if piece.suffix == ".gz" else piece.open("rb") as source:
                shutil.copyfileobj(source, stream)


def _to_csv(rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: object) -> object:
    if value is None:
        return ""
    return json_line(cast("object", value)) if isinstance(value, list | dict) else value
