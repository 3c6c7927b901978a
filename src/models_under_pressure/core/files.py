"""Files written atomically and read with refusals that help, canonical JSON, content hashes."""

import codecs
import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeGuard, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from models_under_pressure.core.errors import UserError

M = TypeVar("M", bound=BaseModel)


class Frozen(BaseModel):
    """A description: its fields do not change; fields that it does not know, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def checked(schema: type[M], values: Mapping[str, Any]) -> M:
    """Settings that a caller gives from Python.

    Raises:
        UserError: naming the first that is unknown or out of range, and those that there are.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        remedy = f"the settings are {', '.join(schema.model_fields)}."
        raise UserError(f"{first['msg']}.", where=".".join(map(str, first["loc"])), remedy=remedy) from None


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
    # a second buffer would wait until it is full, so that a line of a pipe came late
    raw = cast("io.RawIOBase", stream)
    buffered = cast("io.BufferedReader", raw) if isinstance(stream, io.BufferedReader) else io.BufferedReader(raw)
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
    older: Collection[int] = (),
    what: str,
    remedy: str,
    upgrade: Callable[[dict[str, Any]], None] = lambda content: None,
) -> M:
    """Read a description whose `format` is the one that this code reads.

    Args:
        path: path of the JSON file.
        model: type of the description.
        version: number of the format.
        older: numbers of older formats that can be read.
        what: name of the thing described, for messages.
        remedy: command or act that makes it anew, for messages.
        upgrade: function that adds what older files of the same format leave out.

    Raises:
        UserError: the file is missing or damaged, or of another format.
    """
    content = read_json(path)
    found = content.get("format") if is_object(content) else None
    if found not in (known := (*older, version)):
        raise UserError(
            f"the {what} has the format {found}, this code reads {' and '.join(map(str, known))}.",
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
