"""Downloads that are verified, resumed after a cut, and never half-written."""

import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from models_under_pressure.errors import UserError
from models_under_pressure.files import file_hash

_TIMEOUT = 60.0
"""Seconds without a byte before a connection counts as dead."""
_ATTEMPTS = 4


def download(url: str, path: Path, *, sha256: str | None) -> str:
    """Fetch `url` into `path`; a partial download beside it (`.part`) is continued.

    Returns:
        The SHA-256 (hex) of the file.

    Raises:
        UserError: the server refuses or stays away, or the content is not the one pinned; `path` is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _continue(url, partial)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == _ATTEMPTS:
                raise UserError(
                    f"the server answered {error.code} {error.reason}.",
                    where=url,
                    remedy="check the address and the revision; a gated dataset needs HF_TOKEN.",
                ) from None
        except OSError as error:
            if attempt == _ATTEMPTS:
                raise UserError(
                    f"the download broke off {attempt} times ({error}).",
                    where=url,
                    remedy="run the command again: it goes on where it stopped.",
                ) from None
    found = file_hash(partial)
    if sha256 is not None and found != sha256:
        partial.unlink()
        raise UserError(
            f"content has sha256 {found}, but {sha256} is pinned.",
            where=url,
            remedy="the origin has changed or the file was damaged on its way; try again, then review and re-pin it.",
        )
    partial.replace(path)
    return found


def _continue(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return
        raise
    with response, partial.open("ab" if response.status == 206 else "wb") as stream:
        _copy(response, stream)
        expected = response.headers.get("Content-Length")
    start = have if response.status == 206 else 0
    if expected is not None and partial.stat().st_size != start + int(expected):
        raise ConnectionError(f"{partial.stat().st_size - start} of {expected} bytes came")


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    shutil.copyfileobj(source, target, length=1 << 20)


def pinned(path: Path, sha256: str | None) -> bool:
    """Whether the file is there and is the one pinned."""
    return path.is_file() and (sha256 is None or file_hash(path) == sha256)
