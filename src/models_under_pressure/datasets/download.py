"""Downloads that are verified, resumed after a cut, and never half-written."""

import http.client
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, write_text

DOWNLOADS = Path("data/downloads")
"""Pieces of files that are still coming; kept by no stage, so that a stopped download can go on."""

_TIMEOUT = 60.0
"""Seconds without a byte before a connection counts as dead."""
_ATTEMPTS = 5


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
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _continue(url, partial, is_verified=sha256 is not None)
            break
        except urllib.error.HTTPError as error:
            if (error.code < 500 and error.code not in (408, 429)) or attempt == _ATTEMPTS:
                raise UserError(
                    f"the server answered {error.code} {error.reason}.",
                    where=url,
                    remedy="check the address and the revision; what needs a login must be downloaded by hand.",
                ) from None
        except (OSError, http.client.HTTPException) as error:
            if attempt == _ATTEMPTS:
                raise UserError(
                    f"the download broke off {attempt} times ({error}).",
                    where=url,
                    remedy="run the command again: it goes on where it stopped.",
                ) from None
        time.sleep(pause * 2 ** (attempt - 1))
    found = file_hash(partial)
    _version(partial).unlink(missing_ok=True)
    if sha256 is not None and found != sha256:
        partial.unlink()
        raise UserError(
            f"content has sha256 {found}, but {sha256} is pinned.",
            where=url,
            remedy="the origin has changed or the file was damaged on its way; try again, then review and re-pin it.",
        )
    partial.replace(path)
    return found


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
            _copy(response, stream)
        expected = response.headers.get("Content-Length")
        start = have if response.status == 206 else 0
    if expected is not None and partial.stat().st_size != start + int(expected):
        raise ConnectionError(f"{partial.stat().st_size - start} of {expected} bytes came")


def _version(partial: Path) -> Path:
    """Where the server's name for the version of a partial download is kept."""
    return partial.with_name(partial.name + ".etag")


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    shutil.copyfileobj(source, target, length=1 << 20)


def pinned(path: Path, sha256: str | None) -> bool:
    """Whether the file is there and is the one pinned."""
    return path.is_file() and (sha256 is None or file_hash(path) == sha256)
