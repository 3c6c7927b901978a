"""One typed section of params.yaml, or of experiments/params.yaml: what a stage knows of them is its own section."""

import types
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from models_under_pressure.core.errors import UserError

T = TypeVar("T", bound=BaseModel)


def load_yaml(path: Path, schema: type[T]) -> T:
    """Read a YAML 1.2 file (as DVC does) into `schema`.

    Raises:
        UserError: the file is missing, is not YAML, or has an unknown, missing or mistyped key; all are listed, each
            with its line, and for an unknown key the allowed ones.
    """
    tree = load_plain(path)
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise UserError(explain(error, path, schema), remedy="correct the file.") from None


def load_plain(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 file as plain values.

    Raises:
        UserError: the file is missing, or is no YAML mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe").load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(
            "file not found.", where=str(path), remedy="run from the project's folder, or restore the file with git."
        ) from None
    except YAMLError as error:
        raise UserError(f"not YAML ({error}).", where=str(path), remedy="repair the file.") from None
    if not isinstance(tree, dict):
        raise UserError("not a mapping of names to values.", where=str(path), remedy="restore the file with git.")
    return tree


@contextmanager
def edit_yaml(path: Path) -> Generator[dict[str, Any]]:
    """Yield the content of a YAML file, to be changed in place; comments and layout stay, as when DVC edits it."""
    serialize: Any = import_module("dvc.utils.serialize")
    with serialize.modify_yaml(str(path)) as content:
        yield content


def dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; lists stay whole, because their places are not names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= dotted(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return flat


def explain(error: ValidationError, path: Path, schema: Any, *, under: Sequence[str] = ()) -> str:
    """Every problem of a file that does not fit `schema`, each with its line; `under` leads to the part checked."""
    from ruamel.yaml import YAML

    tree = YAML(typ="rt").load(path.read_text("utf-8"))
    return "; ".join(_describe(details, tree, schema, path, under) for details in error.errors())


def _describe(details: ErrorDetails, tree: Any, schema: Any, path: Path, under: Sequence[str]) -> str:
    location = [part for part in details["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    keys, line = _place([*under, *location], tree)
    place = f"{path}:{line}: `{'.'.join(map(str, keys)) or 'file'}`"
    if details["type"] == "extra_forbidden":
        allowed = sorted({name for model in _models(schema, location[:-1]) for name in model.model_fields})
        return f"{place}: unknown key; allowed: {', '.join(allowed)}"
    given = f", not {details['input']!r}" if isinstance(details["input"], str | int | float | bool) else ""
    return f"{place}: {details['msg'].removeprefix('Value error, ')}{given}"


def _place(location: Sequence[str | int], tree: Any) -> tuple[list[str | int], int]:
    """The keys of `location` that exist in the file (pydantic adds union tags), and the line of the last."""
    keys: list[str | int] = []
    line = 1
    for index, part in enumerate(location):
        is_last = index == len(location) - 1
        if isinstance(tree, dict) and part in tree:
            line = tree.lc.key(part)[0] + 1  # pyright: ignore[reportAttributeAccessIssue]
            tree = tree[part]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            line = tree.lc.item(part)[0] + 1  # pyright: ignore[reportAttributeAccessIssue]
            tree = tree[part]
        elif not is_last:
            continue
        keys.append(part)
    return keys, line


def _models(annotation: Any, location: Sequence[str | int]) -> Iterator[type[BaseModel]]:
    """The models that `location` can mean inside a type."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _models(get_args(annotation)[0], location)
    elif origin is types.UnionType or str(origin) == "typing.Union":
        members = get_args(annotation)
        tagged = [member for member in members if location and _has_tag(member, location[0])]
        for member in tagged or members:
            yield from _models(member, location[1:] if tagged else location)
    elif origin in (dict, list, tuple, set):
        if location:
            yield from _models(get_args(annotation)[-1 if origin is dict else 0], location[1:])
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not location:
            yield annotation
        elif (field := annotation.model_fields.get(str(location[0]))) is not None:
            yield from _models(field.annotation, location[1:])


def _has_tag(member: Any, tag: str | int) -> bool:
    if not (isinstance(member, type) and issubclass(member, BaseModel)):
        return False
    return any(
        get_origin(field.annotation) is Literal and tag in get_args(field.annotation)
        for field in member.model_fields.values()
    )


T = TypeVar("T")

PARAMS = Path("params.yaml")
EXPERIMENTS = Path("experiments/params.yaml")

_SHARED = ("seed", "llm", "model", "models", "probe")
"""Sections that belong to no single stage."""
_PACKAGE = Path(__file__).parents[1]


class Section(BaseModel):
    """A section of a YAML file, or a part of one: it has no other keys than these, and does not change."""

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


def model_aliases(file: Path = PARAMS) -> dict[str, str]:
    """Short name of a model -> its Hugging Face id or path; there are none outside a project."""
    return read("models", dict[str, str], file) if file.exists() else {}


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
