"""Telling a chat completion from a failure, also one in disguise."""

import json
from typing import Any


def completion_in(body: object) -> dict[str, Any] | None:
    """The body, if it is a chat completion with a choice; None if it is anything else."""
    if not isinstance(body, dict) or error_in(body) is not None:
        return None
    match body.get("choices"):
        case [{"message": dict(message)}, *_] if isinstance(message.get("content"), str | None):
            return body
    return None


def parsed(raw: bytes) -> object:
    """The JSON value of a body; None if it is not JSON (an HTML page of a gateway)."""
    try:
        return json.loads(raw)
    except ValueError:
        return None


def error_in(body: object) -> dict[str, Any] | None:
    """The error in a body: OpenRouter puts failures of a model's host inside a response of status 200."""
    if not isinstance(body, dict):
        return None
    found = body.get("choices")
    choices = [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []
    error = body.get("error") or next((choice["error"] for choice in choices if choice.get("error")), None)
    if error is None or isinstance(error, dict):
        return error
    return {"message": str(error)}


def status_of(http_status: int, body: object) -> int:
    """The status that a failure stands for; 502 if a response of status 200 holds nothing of use."""
    if http_status != 200:
        return http_status
    code = (error_in(body) or {}).get("code")
    return code if isinstance(code, int) and 400 <= code <= 599 else 502


def fatal(status: int, raw: bytes) -> tuple[str, str] | None:
    """Problem and remedy, if the failure would meet every question."""
    if status == 401:
        return "the endpoint refuses the API key (401).", "put a valid key into .env."
    if status == 402 or (status == 429 and b"insufficient_quota" in raw):
        return f"the account has no credit ({status}).", "add credit at the endpoint, then run again."
    if status == 404:
        return "the endpoint does not know the model or the address (404).", "correct llm.model or llm.endpoint."
    return None
