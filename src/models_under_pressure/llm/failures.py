"""What a response without a reply means: its status, the server's own sentence, and whether asking again may help."""

import json
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, cast

from models_under_pressure.llm.redact import one_line

LONGEST_WAIT = 120.0
"""Seconds of Retry-After that openai waits for; it gives a question up that would have to wait longer."""
_FILTERED = frozenset(
    {
        *("content_filter", "content_policy_violation", "invalid_prompt", "moderation_blocked"),  # OpenAI, Azure
        *("ResponsibleAIPolicyViolation", "content_filter_error", "data_inspection_failed"),  # Azure, Alibaba
    }
)
"""Codes by which endpoints say that a filter stopped the question."""
_TOO_LONG = frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large"})


def parsed(raw: bytes) -> object:
    """The JSON value of a body; None if it is not JSON (an HTML page of a gateway)."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def mapping(value: Any) -> dict[str, Any]:
    """The value, if it is a JSON object; else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def choices_in(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The choices of a chat completion, those that are no objects as empty ones."""
    found = body.get("choices")
    return list(map(mapping, cast("list[Any]", found))) if isinstance(found, list) else []


def error_in(body: object) -> dict[str, Any] | None:
    """The error in a body: OpenRouter puts failures of a model's host inside a response of status 200."""
    found = mapping(body)
    error = found.get("error") or next((choice["error"] for choice in choices_in(found) if choice.get("error")), None)
    if error is None or isinstance(error, dict):
        return cast("dict[str, Any] | None", error)
    return {"message": str(error)}


def status_of(http_status: int, body: object) -> int:
    """The status that a failure stands for; 502 if a response of status 2xx holds nothing of use."""
    if not 200 <= http_status < 300:
        return http_status
    code = (error_in(body) or {}).get("code")
    return code if isinstance(code, int) and 400 <= code <= 599 else 502


def sentence(raw: bytes) -> str | None:
    """The server's own reason in the body of a failure, as one line; None if there is none, or it is a page."""
    body = parsed(raw)
    if isinstance(body, dict):
        error = error_in(cast("object", body)) or mapping(body)
        said: object = error.get("message") or error.get("detail") or error.get("error")
        behind = mapping(error.get("metadata")).get("raw")  # OpenRouter: what the model's host said
        if isinstance(behind, str) and behind:
            said = f"{said or 'the host said'}: {sentence(behind.encode('utf-8', 'replace')) or behind}"
        text = said if isinstance(said, str) else json.dumps(said) if said else ""
    else:
        text = raw[:4096].decode("utf-8", "replace") if body is None else ""
        text = "" if text.lstrip().startswith("<") else text
    return one_line(text) or None


def is_filtered(body: object) -> bool:
    """Whether a filter of the endpoint stopped the question: nothing is wrong with model, key or schema."""
    error = error_in(body) or {}
    inner = mapping(error.get("innererror") or error.get("inner_error"))
    named = {
        value for part in (error, inner) for value in (part.get("code"), part.get("type")) if isinstance(value, str)
    }
    flagged = "flagged_input" in mapping(error.get("metadata"))  # OpenRouter's moderation
    return flagged or not named.isdisjoint(_FILTERED)


def is_too_long(status: int, raw: bytes) -> bool:
    """Whether the question alone is at fault, being longer than the model takes."""
    return status == 413 or (status in (400, 422) and any(code.encode() in raw for code in _TOO_LONG))


def fatal(status: int, raw: bytes) -> tuple[str, str] | None:
    """Problem and remedy, if the failure would meet every question."""
    if status == 401:
        return _with(raw, "the endpoint refuses the API key (401)"), "put a valid key into .env."
    if status == 402 or (status == 429 and b"insufficient_quota" in raw):
        return _with(raw, f"the account has no credit ({status})"), "add credit at the endpoint, then run again."
    if status == 404 and b"parameters" in raw:
        problem = _with(raw, "no host of the model takes such requests (404)")
        return problem, "choose a model that takes strict JSON schemas, and every parameter sent (temperature, seed)."
    if status == 404:
        problem = _with(raw, "the endpoint does not know the model or the address (404)")
        return problem, "correct llm.model or llm.endpoint."
    return None


def _with(raw: bytes, problem: str) -> str:
    said = sentence(raw)
    return f"{problem}: {said.rstrip('.')}." if said else f"{problem}."


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, by `Retry-After` (RFC 9110: seconds or a date) or `retry-after-ms`."""
    found = {name.lower(): value for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(found[name]) / unit
        except (KeyError, ValueError):
            continue
        return seconds if math.isfinite(seconds) and seconds > 0 else None
    try:
        seconds = parsedate_to_datetime(found["retry-after"]).timestamp() - time()
    except (KeyError, ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None
