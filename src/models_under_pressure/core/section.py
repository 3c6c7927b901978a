"""One typed section of params.yaml, or of experiments/params.yaml: what a stage knows of them is its own section."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.yaml import explain, load_plain

T = TypeVar("T")

PARAMS = Path("params.yaml")
EXPERIMENTS = Path("experiments/params.yaml")

_SHARED = ("seed", "llm", "model", "models", "probe")
"""Sections that belong to no single stage."""
_PACKAGE = Path(__file__).parents[1]


class Section(BaseModel):
    """A section that one stage reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read(name: str, schema: type[T], file: Path = PARAMS) -> T:
    """Read and check one section; of the others only the names are looked at.

    Args:
        name: key at the top of the file.
        schema: a pydantic model, or any type that pydantic can check (`int`, `dict[str, str]`).
        file: params.yaml, or experiments/params.yaml.

    Raises:
        UserError: the file is missing or not YAML; it has a section that no stage reads, or lacks this one; a key of
            the section is unknown, missing or mistyped. All problems are listed, each with its line.
    """
    tree = load_plain(file)
    known = section_names(file)
    for key in tree:
        if key not in known:
            raise UserError(
                f"`{key}`: unknown key; allowed: {', '.join(sorted(known))}",
                where=f"{file}:{_line(file, key)}",
                remedy="correct the file.",
            )
    if name not in tree:
        raise UserError(f"`{name}`: this section is missing.", where=str(file), remedy="restore it with git.")
    try:
        return TypeAdapter(schema).validate_python(tree[name])
    except ValidationError as error:
        raise UserError(explain(error, file, schema, under=(name,)), remedy="correct the file.") from None


def section_names(file: Path) -> set[str]:
    """The sections that a params file may have: one per module of `stages` or `experiments`, and the shared ones."""
    if file.name == "versions.yaml":
        return {"sources", "versions", "datasets"}
    room = "experiments" if file.parent.name == "experiments" else "stages"
    names = {path.stem for path in (_PACKAGE / room).glob("*.py") if not path.stem.startswith("_")}
    return names if room == "experiments" else names | set(_SHARED)


def _line(file: Path, key: str) -> int:
    lines = file.read_text("utf-8").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if line.startswith(f"{key}:")), 1)
