"""One typed section of params.yaml, or of experiments/params.yaml: what a stage knows of them is its own section."""

import re
import types
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from models_under_pressure.core.display import masked
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import Frozen, is_list, is_object

T = TypeVar("T")

PARAMS = Path("params.yaml")
EXPERIMENTS = Path("experiments/params.yaml")

_SHARED = ("seed", "concept", "llm", "model", "models", "probe")
"""Sections that belong to no single stage."""
_PACKAGE = Path(__file__).parents[1]
_DEEPEST, _MOST_ENTRIES = 100, 1_000_000
"""What nobody writes."""


class Section(Frozen):
    """A section that one stage reads."""


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
            _, line = _place([key], _with_lines(file))
            raise UserError(
                f"`{key}`: unknown key; allowed: {', '.join(sorted(known))}",
                where=f"{file}:{line}",
                remedy="correct the file.",
            )
    if name not in tree:
        raise UserError(f"`{name}`: this section is missing.", where=str(file), remedy="restore it with git.")
    return _checked(tree[name], schema, file, under=(name,))


def entry(entries: Mapping[str, T], name: str, where: str) -> T:
    """The model of that name; `where` is the parameter that holds the models.

    Raises:
        UserError: there is none.
    """
    if name not in entries:
        known = ", ".join(entries) or "none yet"
        raise UserError(f"no model {name!r}.", where=where, remedy=f"use one of its names ({known}), or add it there.")
    return entries[name]


def model_aliases(file: Path = PARAMS) -> dict[str, str]:
    """Short name of a model -> its Hugging Face id or path; there are none outside a project."""
    return read("models", dict[str, str], file) if file.exists() else {}


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_NAMES = ("probes", "models", "pairs")
"""Maps of a section whose keys are names that the user gives."""


def check_names(file: Path = PARAMS) -> None:
    """Refuse names that would not stay one word of a stage's command, or one part of a path.

    Raises:
        UserError: naming the first one.
    """
    tree = load_plain(file)
    for section, values in tree.items():
        for group in _NAMES if is_object(values) else ():
            for name in values[group] if is_object(values.get(group)) else ():
                if not _NAME.fullmatch(str(name)):
                    _, line = _place([section, group, name], _with_lines(file))
                    raise UserError(
                        f"`{section}.{group}`: {str(name)!r} is no name: those have letters, digits and `_-+.` only.",
                        where=f"{file}:{line}",
                        remedy="rename it.",
                    )


def runs_code_of(model: str, file: Path = PARAMS) -> bool:
    """Whether params.yaml says that a model's own code may run: `model.trust_remote_code`, for `model.name` alone.

    Args:
        model: Hugging Face id or path, as an alias leads to it.
        file: params.yaml; where there is none, no code runs.
    """
    if not file.exists():
        return False
    named = read("model", dict[str, Any], file)
    name = str(named.get("name"))
    return named.get("trust_remote_code") is True and model_aliases(file).get(name, name) == model


def section_names(file: Path) -> set[str]:
    """The sections that a params file may have: one per module of `stages` or `experiments`, and the shared ones."""
    if file.name == "versions.yaml":
        return {"sources", "versions", "datasets"}
    room = "experiments" if file.parent.name == "experiments" else "stages"
    names = {path.stem for path in (_PACKAGE / room).glob("*.py") if not path.stem.startswith("_")}
    return names if room == "experiments" else names | set(_SHARED)


def load_yaml(path: Path, schema: type[T]) -> T:
    """Read a YAML 1.2 file (as DVC does) into `schema`.

    Raises:
        UserError: the file is missing, is not YAML, or has an unknown, missing or mistyped key; all are listed, each
            with its line, and for an unknown key the allowed ones.
    """
    return _checked(load_plain(path), schema, path)


def load_plain(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 file as plain values.

    Raises:
        UserError: the file is missing, or is no YAML mapping.
    """
    from ruamel.yaml import YAML

    with _explained(path):
        parser: Any = YAML(typ="safe")
        text = path.read_text("utf-8-sig")
        _check_depth(parser.parse(text))
        tree = parser.load(text)
        _entries(tree, {})
    if not is_object(tree):
        raise UserError("not a mapping of names to values.", where=str(path), remedy="restore the file with git.")
    return tree


@contextmanager
def _explained(path: Path) -> Generator[None]:
    from ruamel.yaml.error import YAMLError

    try:
        yield
    except FileNotFoundError:
        raise UserError(
            "file not found.", where=str(path), remedy="run from the project's folder, or restore the file with git."
        ) from None
    except (YAMLError, ValueError, RecursionError, OSError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or ("nested too deep" if isinstance(error, RecursionError) else error)
        raise UserError(f"not YAML ({reason}).", where=where, remedy="repair the file.") from None


def _check_depth(events: Iterator[Any]) -> None:
    """Refuse what is nested so deep that the library's C code would end the process.

    Raises:
        ValueError: there is such a part.
    """
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith(("SequenceStartEvent", "MappingStartEvent"))
        depth -= kind.endswith(("SequenceEndEvent", "MappingEndEvent"))
        if depth > _DEEPEST:
            raise ValueError("nested too deep")


def _entries(value: object, known: dict[int, int]) -> int:
    """Entries of a tree, each counted as often as aliases name it: nine nested lists can hold a thousand million.

    Raises:
        ValueError: there are more than anybody writes, or a part holds itself.
    """
    if not is_object(value) and not is_list(value):
        return 1
    if id(value) not in known:
        known[id(value)] = 0
        known[id(value)] = 1 + sum(_entries(one, known) for one in (value.values() if is_object(value) else value))
    if not 0 < known[id(value)] <= _MOST_ENTRIES:
        raise ValueError("its aliases (`*name`) unfold without end")
    return known[id(value)]


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
        flat |= dotted(value, f"{name}.") if is_object(value) and value else {name: value}
    return flat


def _checked(values: Any, schema: type[T], path: Path, under: Sequence[str] = ()) -> T:
    """The values of a file, or of the part that `under` leads to, as `schema`."""
    try:
        return TypeAdapter(schema).validate_python(values)
    except ValidationError as error:
        tree = _with_lines(path)
        problems = "; ".join(_describe(details, tree, schema, path, under) for details in error.errors())
        raise UserError(problems, remedy="correct the file.") from None


def _with_lines(path: Path) -> Any:
    from ruamel.yaml import YAML

    parser: Any = YAML(typ="rt")
    with _explained(path):  # this loader, in Python, refuses some text that the one in C reads
        return parser.load(path.read_text("utf-8-sig"))


def _describe(details: ErrorDetails, tree: Any, schema: Any, path: Path, under: Sequence[str]) -> str:
    location = [part for part in details["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    keys, line = _place([*under, *location], tree)
    place = f"{path}:{line}: `{'.'.join(map(str, keys)) or 'file'}`"
    if details["type"] == "extra_forbidden":
        allowed = sorted({name for model in _models(schema, location[:-1]) for name in model.model_fields})
        return f"{place}: unknown key; allowed: {', '.join(allowed)}"
    given = masked(f", not {details['input']!r}") if isinstance(details["input"], str | int | float | bool) else ""
    return f"{place}: {details['msg'].removeprefix('Value error, ')}{given}"


def _place(location: Sequence[str | int], tree: Any) -> tuple[list[str | int], int]:
    """The keys of `location` that exist in the file (pydantic adds union tags), and the line of the last."""
    keys: list[str | int] = []
    line = 1
    for index, part in enumerate(location):
        found = _child(tree, part)
        if found is not None:
            line, tree = found
        elif index < len(location) - 1:
            continue
        keys.append(part)
    return keys, line


def _child(tree: Any, part: str | int) -> tuple[int, Any] | None:
    """The line of a key or of a place in a list, and what stands there; None when there is none."""
    is_mapping = hasattr(tree, "keys")
    if not hasattr(tree, "lc") or not (part in tree if is_mapping else isinstance(part, int) and part < len(tree)):
        return None
    where = tree.lc.key(part) if is_mapping else tree.lc.item(part)
    return where[0] + 1, tree[part]


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
