"""Atomic writes, canonical JSON and content hashes."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from models_under_pressure.core.errors import UserError


class Frozen(BaseModel):
    """A description: its fields do not change, and a field that it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name when the block succeeds.

    A reader sees the old file or the whole new one, never a part; a failing block leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
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
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError("file not found.", where=str(path), remedy="run `dvc repro` or `dvc pull`.") from None
    except ValueError as error:
        raise UserError(f"not JSON ({error}).", where=str(path), remedy="restore the file.") from None


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
        UserError: the file is missing, or a line is blank or not JSON (a cut download, a merge marker).
    """
    try:
        stream = path.open(encoding="utf-8")
    except FileNotFoundError:
        raise UserError("file not found.", where=str(path), remedy="run `dvc repro` or `dvc pull`.") from None
    with stream:
        yield from jsonl_rows(stream, where=str(path))


def jsonl_rows(lines: Iterable[str], *, where: str) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) of each line.

    Raises:
        UserError: naming `where`: a line is blank or not JSON.
    """
    for number, line in enumerate(lines, start=1):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise UserError(
                f"line is not JSON ({error}).",
                where=f"{where}:{number}",
                remedy="repair or delete this line; each line holds one JSON object.",
            ) from None


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


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


M = TypeVar("M", bound=BaseModel)


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
        path: of the JSON file.
        model: what it must hold.
        version: the format.
        what: name of the thing described, for messages.
        remedy: what makes it anew.
        upgrade: adds what older files of the same format leave out.

    Raises:
        UserError: the file is missing or damaged, or of another format.
    """
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
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
