"""A chat model's reply, reduced to what callers and the record files need."""

import json
from dataclasses import dataclass
from typing import Any, Literal, cast

Kind = Literal["refusal", "truncated", "content_filter", "invalid", "transport", "timeout", "rejected"]
"""Why a question has no answer: the model declined, ran into its token limit, or was filtered; its replies never
fitted the form; the connection or the server failed; the deadline passed; the endpoint rejected the request."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, and its cost if the endpoint told it."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply as the endpoint gave it."""

    content: str | None
    refusal: str | None
    finish_reason: str | None
    model: str
    """Name of the model, as the server reported it."""
    usage: Usage | None

    @property
    def ended(self) -> tuple[Kind, str] | None:
        """Why this reply cannot hold an answer; None if it may. Asking again would not help."""
        if self.refusal:
            return "refusal", self.refusal
        if self.finish_reason == "length":
            return "truncated", "the reply ran into max_tokens"
        if self.finish_reason == "content_filter":
            return "content_filter", "the endpoint filtered the reply"
        return None


def from_completion(body: dict[str, Any]) -> Reply:
    """Take a reply out of the body of a chat completion."""
    choice = body["choices"][0]
    message = choice["message"]
    return Reply(
        content=message.get("content"),
        refusal=_text(message.get("refusal")),
        finish_reason=_text(choice.get("finish_reason")),
        model=str(body.get("model") or "unknown"),
        usage=_usage(body.get("usage")),
    )


def to_completion(reply: Reply) -> dict[str, Any]:
    """The body of a chat completion that holds the reply: what a server would have sent."""
    message = {"role": "assistant", "content": reply.content, "refusal": reply.refusal}
    usage = reply.usage or Usage(0, 0)  # without any, instructor looks for other vendors' libraries at every call
    return {
        "id": "recorded",
        "object": "chat.completion",
        "created": 0,
        "model": reply.model,
        "choices": [{"index": 0, "finish_reason": reply.finish_reason, "message": message}],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }


def to_row(key: str, reply: Reply) -> dict[str, Any]:
    """The reply as a line of a record file; absent parts are left out."""
    row: dict[str, Any] = {"key": key, "model": reply.model}
    if reply.finish_reason is not None:
        row["finish_reason"] = reply.finish_reason
    if reply.usage is not None:
        usage = {"prompt_tokens": reply.usage.input_tokens, "completion_tokens": reply.usage.output_tokens}
        cost = {} if reply.usage.cost_usd is None else {"cost": reply.usage.cost_usd}
        row["usage"] = usage | cost
    if reply.refusal is not None:
        row["refusal"] = reply.refusal
    row["content"] = reply.content
    return row


def from_row(row: dict[str, Any]) -> Reply:
    """Read a line of a record file.

    Raises:
        KeyError: a part that every line has is missing.
    """
    return Reply(
        content=row["content"],
        refusal=row.get("refusal"),
        finish_reason=row.get("finish_reason"),
        model=row["model"],
        usage=_usage(row.get("usage")),
    )


def completion_in(body: object) -> dict[str, Any] | None:
    """The body, if it is a chat completion with a choice; None if it is anything else."""
    found = _mapping(body)
    choices = _choices(found)
    message: Any = choices[0].get("message") if choices else None
    has_text = isinstance(message, dict) and isinstance(_mapping(message).get("content"), str | None)
    return found if has_text and error_in(found) is None else None


def parsed(raw: bytes) -> object:
    """The JSON value of a body; None if it is not JSON (an HTML page of a gateway)."""
    try:
        return json.loads(raw)
    except ValueError:
        return None


def error_in(body: object) -> dict[str, Any] | None:
    """The error in a body: OpenRouter puts failures of a model's host inside a response of status 200."""
    found = _mapping(body)
    error = found.get("error") or next((choice["error"] for choice in _choices(found) if choice.get("error")), None)
    if error is None or isinstance(error, dict):
        return cast("dict[str, Any] | None", error)
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


def _mapping(value: Any) -> dict[str, Any]:
    """The value, if it is a JSON object; else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    found = body.get("choices")
    return list(map(_mapping, cast("list[Any]", found))) if isinstance(found, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _usage(usage: object) -> Usage | None:
    found = _mapping(usage)
    tokens_in, tokens_out, cost = (found.get(name) for name in ("prompt_tokens", "completion_tokens", "cost"))
    if not isinstance(tokens_in, int) or not isinstance(tokens_out, int):
        return None
    return Usage(tokens_in, tokens_out, float(cost) if isinstance(cost, int | float) else None)
