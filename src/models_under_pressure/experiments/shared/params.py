"""Entries of sections by their names."""

from collections.abc import Mapping
from typing import TypeVar

from models_under_pressure.core.errors import UserError

T = TypeVar("T")


def entry(entries: Mapping[str, T], name: str, where: str) -> T:
    """The entry of that name; `where` is the parameter that holds them.

    Raises:
        UserError: there is none.
    """
    if name not in entries:
        known = ", ".join(entries) or "none yet"
        raise UserError(f"no model {name!r}.", where=where, remedy=f"use one of its names ({known}), or add it there.")
    return entries[name]
