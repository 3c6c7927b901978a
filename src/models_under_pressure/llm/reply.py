"""A chat model's reply, reduced to what callers and the record files need."""

from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, cast

from models_under_pressure.core.files import stable_hash
from models_under_pressure.llm.failures import choices_in, error_in, mapping
from models_under_pressure.llm.redact import whole

Kind = Literal["refusal", "truncated", "content_filter", "invalid", "transport", "timeout", "rejected"]
"""Why a question has no answer: the model declined, ran into its token limit, or was filtered; its replies never
fitted the form; the connection or the server failed; the deadline passed; the endpoint rejected the request."""


_MOST = 2**53
"""Counts and costs above it are no such thing."""


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
    """Take a reply out of the body of a chat completion; a part that is of another form than it should be is absent."""
    choice = next(iter(choices_in(body)), mapping(None))
    message = mapping(choice.get("message"))
    return Reply(
        content=_content(message.get("content")),
        refusal=_text(message.get("refusal")),
        finish_reason=_text(choice.get("finish_reason")),
        model=whole(str(body.get("model") or "unknown")),
        usage=usage_in(body),
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


def filtered_completion(model: str) -> dict[str, Any]:
    """What is kept of a question that a filter stopped (HTTP 400), so that it replays and is not asked again."""
    message = {"role": "assistant", "content": None, "refusal": None}
    return {"model": model, "choices": [{"index": 0, "finish_reason": "content_filter", "message": message}]}


def to_row(key: str, reply: Reply) -> dict[str, Any]:
    """The reply as a line of a record file, with its checksum; absent parts are left out."""
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
    return row | {"sha256": checksum(row)}


def checksum(row: dict[str, Any]) -> str:
    """SHA-256 (hex) of a line of a record file without its checksum, however the line is spelled."""
    return stable_hash({name: value for name, value in row.items() if name != "sha256"})


def from_row(row: dict[str, Any]) -> Reply:
    """Read a line of a record file; its checksum is not looked at.

    Raises:
        KeyError: a part that every line has is missing.
        TypeError: a part is of another type than it should be.
    """
    content, model, usage = row["content"], row["model"], usage_in(row)
    texts: tuple[object, ...] = (content, row.get("refusal"), row.get("finish_reason"))
    if not isinstance(model, str) or not all(isinstance(text, str | None) for text in texts):
        raise TypeError("a part is no text")
    if any(whole(text) != text for text in (*texts, model) if isinstance(text, str)):
        raise TypeError("a text cannot be encoded")
    if row.get("usage") is not None and usage is None:
        raise TypeError("usage is no count")
    return Reply(content, row.get("refusal"), row.get("finish_reason"), model, usage)


def completion_in(body: object) -> dict[str, Any] | None:
    """The body, if it is a chat completion that was paid for, whatever is in it; None if it is anything else.

    One that holds no answer is kept all the same: asking the same again would be paid again.
    """
    found = mapping(body)
    return found if error_in(found) is None and (choices_in(found) or is_paid(found)) else None


def is_paid(body: object) -> bool:
    """Whether a body tells of tokens that the model wrote."""
    usage = usage_in(mapping(body))
    return usage is not None and usage.output_tokens > 0


def usage_in(body: dict[str, Any]) -> Usage | None:
    """The usage that a body or a line tells; None if it tells none that can be counted."""
    found = mapping(body.get("usage"))
    tokens_in, tokens_out, cost = (found.get(name) for name in ("prompt_tokens", "completion_tokens", "cost"))
    if not (_is_count(tokens_in) and _is_count(tokens_out)):
        return None
    if not isinstance(cost, int | float) or not 0 <= cost <= _MOST:
        cost = None
    return Usage(tokens_in, tokens_out, None if cost is None else float(cost))


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value <= _MOST


def _content(content: object) -> str | None:
    """The text of a message, also of one in parts."""
    if isinstance(content, list):
        parts = map(mapping, cast("list[Any]", content))
        return "".join(_text(part.get("text")) or "" for part in parts)
    return _text(content)


def _text(value: object) -> str | None:
    return whole(value) if isinstance(value, str) else None
