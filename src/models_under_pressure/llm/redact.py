"""Foreign text made fit to keep and to show: secrets taken out, addresses masked, one line of harmless characters."""

import base64
import json
import os
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from pydantic import SecretStr

from models_under_pressure.core.display import masked, notice, printable
from models_under_pressure.core.settings import load_settings

_SHORTEST = 8
"""Characters of a secret that is searched for: `EMPTY` or `none` for a server without a key are words of any reply."""
_MOST = 300
"""Characters of a foreign sentence that are shown."""
_HALF_SHOWN = re.compile(r"\S*(?:\*{3,}|\b(?:sk|pk|sess|hf|gsk|xai)[-_][\w*.…-]{6,})\S*")
"""A key as endpoints quote it: its ends around asterisks, or by the prefixes that keys have."""
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def known_secrets(endpoint: str) -> dict[str, str]:
    """Name -> value of every secret of this process: of the environment, of `.env`, in the address of the endpoint."""
    found = {name.upper(): value.get_secret_value() for name, value in load_settings() if isinstance(value, SecretStr)}
    if token := os.environ.get("HF_TOKEN"):
        found["HF_TOKEN"] = token
    url = urlsplit(endpoint)
    asked = (value for name, value in parse_qsl(url.query) if not name.endswith("version"))
    inside = [url.password or "", url.username or "", *asked]
    if url.username:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        inside.append(base64.b64encode(pair.encode()).decode())
    for number, value in enumerate(filter(None, inside)):
        found[f"llm.endpoint, part {number + 1}"] = unquote(value)
    return {name: value for name, value in found.items() if len(value) >= _SHORTEST}


class Redactor:
    """Puts `[name]` in the place of secrets; says once of each that it was found.

    Each secret is found as it is, as JSON spells it (also inside a string of JSON), with percent signs and in base64.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        spelled = ((spelling, name) for name, value in secrets.items() for spelling in _spellings(value))
        self._spellings = dict(sorted(spelled, key=lambda pair: -len(pair[0])))
        self._said: set[str] = set()

    def text(self, text: str) -> str:
        """The text without secrets."""
        plain = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text)
        if plain != text and any(spelling in plain and spelling not in text for spelling in self._spellings):
            text = whole(plain)
        for spelling, name in self._spellings.items():
            if spelling in text:
                text = text.replace(spelling, f"[{name}]")
                if name not in self._said:
                    self._said.add(name)
                    notice(f"the endpoint repeated a secret ({name}); it is replaced in what is kept and shown")
        return text

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, in keys and strings at any depth; lone surrogates become U+FFFD."""
        if isinstance(value, str):
            return whole(self.text(value))
        if isinstance(value, list):
            return [self.value(one) for one in cast("list[Any]", value)]
        if isinstance(value, dict):
            return {self.value(key): self.value(one) for key, one in cast("dict[str, Any]", value).items()}
        return value


def _spellings(secret: str) -> set[str]:
    once = json.dumps(secret)[1:-1]
    quoted = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    return {secret, once, json.dumps(once)[1:-1], base64.b64encode(secret.encode()).decode()} | quoted


def whole(text: str) -> str:
    """The text with halves of surrogate pairs joined, and U+FFFD for those that stand alone: it can be encoded."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(text: str) -> str:
    """A foreign sentence as one line to show: no control characters, no half-shown keys, not too long."""
    start = whole(text[: 4 * _MOST])  # the rest is not shown, and may be megabytes
    line = " ".join(_HALF_SHOWN.sub("[…]", masked(start)).split())
    return printable(line if len(line) <= _MOST else line[: _MOST - 1] + "…")
