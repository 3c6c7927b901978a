"""A schema without what some endpoints refuse: the bounds of values, which are checked here anyway.

Strict schemas of OpenAI's older models, Anthropic, Gemini and others know types, but neither `minimum` nor `pattern`.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, cast

from models_under_pressure.llm.failures import mapping

BOUNDS = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)
"""Keywords of JSON Schema (draft 2020-12, validation) that bound values."""
_CLOSED = "additionalProperties"
"""Said only if the endpoint complains of it: others demand it."""


def refused_keywords(raw: bytes, body: Mapping[str, Any]) -> frozenset[str]:
    """The keywords to leave out after a rejection that complains of the schema; none if it complains of something else.

    All bounds go at once, as there is one retry.
    """
    said, present = raw.decode("utf-8", "replace"), _keywords(_schema(body))
    named = {word for word in present if re.search(rf"(?<![A-Za-z_]){word}(?![A-Za-z])", said)}
    if not named and not (present & BOUNDS and re.search(r"schema|response_format", said, re.IGNORECASE)):
        return frozenset()
    return frozenset(present & BOUNDS | named)


def without(body: Mapping[str, Any], keywords: frozenset[str]) -> dict[str, Any]:
    """The body of a request whose schema lacks the keywords."""
    request = deepcopy(dict(body))
    _strip(_schema(request), keywords)
    return request


def _schema(body: Mapping[str, Any]) -> dict[str, Any]:
    return mapping(mapping(mapping(body.get("response_format")).get("json_schema")).get("schema"))


def _parts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schema and every schema within it; names of properties are no keywords."""
    within: list[Any] = [schema.get("items"), *schema.get("anyOf", ())]
    for name in ("properties", "$defs"):
        within += schema.get(name, {}).values()
    return [schema, *(part for one in within if isinstance(one, dict) for part in _parts(cast("dict[str, Any]", one)))]


def _keywords(schema: dict[str, Any]) -> set[str]:
    return {word for part in _parts(schema) for word in part if word in BOUNDS or word == _CLOSED}


def _strip(schema: dict[str, Any], keywords: frozenset[str]) -> None:
    for part in _parts(schema):
        for word in keywords & part.keys():
            del part[word]
