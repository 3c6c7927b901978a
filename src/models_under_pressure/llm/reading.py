"""The object in a reply: alone, in a code fence, after a block of thoughts, or among prose.

Servers without constrained decoding wrap the object that they were asked for. It was paid for, so that it is looked
for; which one is meant must be certain: of several objects that fit, all must be equal.
"""

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from models_under_pressure.llm.redact import one_line, whole

T = TypeVar("T", bound=BaseModel)

_MARK = re.compile(r"\{|<(/?)(?:think|thinking|thought|reasoning)>")
_MOST_BROKEN = 1_000
"""Braces that begin no object, after which none is looked for: each costs the time of reading the text before it."""
_SHOWN = 80
"""Characters of an unfit reply that are shown."""


def read_reply(content: str, form: type[T]) -> T | None:
    """The object that a reply holds; None if there is none that fits, or several that differ."""
    if (alone := _fitting(content, form)) is not None:
        return alone
    found = [fitting for text in _objects(content) if (fitting := _fitting(text, form)) is not None]
    return found[0] if found and all(one == found[0] for one in found) else None


def complaint(content: str, form: type[BaseModel]) -> str:
    """Why `read_reply` finds nothing in a reply, in one line."""
    if not content.strip():
        return "the reply is empty"
    objects = list(_objects(content))
    if not objects:
        shown = one_line(content)
        return f"the reply holds no whole JSON object: {shown[:_SHOWN]}{'…' if len(shown) > _SHOWN else ''}"
    reasons = [_reason(text, form) for text in objects]
    if None in reasons:
        return f"the reply holds {len(objects)} objects, and which one is meant is not certain"
    return reasons[-1] or ""


def _fitting(text: str, form: type[T]) -> T | None:
    try:
        return form.model_validate_json(text, strict=False)
    except ValidationError:
        return None


def _reason(text: str, form: type[BaseModel]) -> str | None:
    try:
        form.model_validate_json(text, strict=False)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        return one_line("; ".join(f"{'.'.join(map(str, one['loc'])) or 'reply'}: {one['msg']}" for one in problems))
    return None


def _objects(content: str) -> list[str]:
    """The outermost JSON objects after the last block of thoughts, in their order; each part is looked at once."""
    decoder, found, position, broken = json.JSONDecoder(), list[str](), 0, 0
    while broken < _MOST_BROKEN and (mark := _MARK.search(content, position)) is not None:
        position = mark.end()
        if mark[0] != "{":  # thoughts end here; or begin, and then nothing before their end counts
            end = None if mark[1] else re.compile(f"</{mark[0][1:]}").search(content, position)
            if not mark[1] and end is None:
                return []
            found, position = [], end.end() if end else position
            continue
        try:
            value, position = decoder.raw_decode(content, mark.start())
        except json.JSONDecodeError as error:
            position, broken = max(position, error.pos), broken + 1
        except (ValueError, RecursionError):  # a number of thousands of digits, or nested too deep
            return found
        else:
            found.append(_text(content[mark.start() : position], value))
    return found


def _text(spelled: str, value: Any) -> str:
    """The object as the reply spells it, unless it has half of a surrogate pair, which no file can hold."""
    text = json.dumps(value, ensure_ascii=False)
    return spelled if whole(text) == text else whole(text)
