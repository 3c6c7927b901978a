"""What is saved as weights with a JSON description beside them: both are checked before they are used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, read_json

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
