"""What every experiment reads of the two params files."""

from collections.abc import Mapping
from typing import TypeVar

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import EXPERIMENTS, read
from models_under_pressure.evaluation.config import EvaluateConfig

T = TypeVar("T")


def own(name: str, schema: type[T]) -> T:
    """A section of experiments/params.yaml.

    Raises:
        UserError: see `core.section.read`.
    """
    return read(name, schema, EXPERIMENTS)


def seed() -> int:
    """The seed of every draw, from params.yaml."""
    return read("seed", int)


def confidence() -> float:
    """Coverage of the intervals, from params.yaml."""
    return read("evaluate", EvaluateConfig).confidence


def entry(entries: Mapping[str, T], name: str, where: str) -> T:
    """The entry of that name; `where` is the parameter that holds them.

    Raises:
        UserError: there is none.
    """
    if name not in entries:
        known = ", ".join(entries) or "none yet"
        raise UserError(f"no model {name!r}.", where=where, remedy=f"use one of its names ({known}), or add it there.")
    return entries[name]
