"""The form of a reply, as instructor and strict JSON schemas want it."""

from functools import lru_cache
from typing import Any

from instructor.v2.core.function_calls import response_schema
from pydantic import BaseModel


@lru_cache(maxsize=64)
def reply_form(reply: type[BaseModel]) -> type[BaseModel]:
    """The class, and its schema, that instructor would otherwise build anew for every call.

    Raises:
        TypeError: the form has optional fields or allows extra ones, which endpoints refuse in strict schemas.
    """
    form = response_schema(reply)
    schema = form.model_json_schema()
    for name, part in [(reply.__name__, schema), *schema.get("$defs", {}).items()]:
        _check(name, part)
    form.model_json_schema = lambda: dict(schema)  # pyright: ignore[reportAttributeAccessIssue]
    return form


def _check(name: str, part: dict[str, Any]) -> None:
    if part.get("type") != "object":
        return
    if part.get("additionalProperties") is not False:
        raise TypeError(f'{name} needs model_config = ConfigDict(extra="forbid")')
    optional = sorted(set(part.get("properties", {})) - set(part.get("required", ())))
    if optional:
        raise TypeError(f"{name} has optional fields: {', '.join(optional)}; give them no default")
