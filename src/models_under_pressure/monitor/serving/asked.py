"""What clients ask, in the form of OpenAI's API; what would have no effect here is refused, not dropped."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from uuid import uuid4

from pydantic import ConfigDict, Field, ValidationError

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.files import Frozen, is_object
from models_under_pressure.core.records import to_record
from models_under_pressure.monitor.serving.refusals import RefusalError

_MOST_SCORED = 1000
"""Conversations in one request to score."""


class _Asked(Frozen):
    model_config = ConfigDict(strict=True)


class StreamOptions(_Asked):
    """How a stream is told."""

    include_usage: bool = False
    """Whether a last chunk counts the tokens."""
    include_obfuscation: bool = False
    """Accepted, and of no effect: chunks are not padded."""


class _Plain(_Asked):
    type: Literal["text"]


class ChatRequest(_Asked):
    """The body of `/v1/chat/completions`: fields of OpenAI's, `scores` beside them.

    Fields that could only be dropped are here with the one value that says the same as their absence.
    """

    model: str
    messages: list[dict[str, Any]] = Field(min_length=1)
    tools: list[dict[str, Any]] = Field(default=[])
    tool_choice: Literal["auto", "none"] = "auto"
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    scores: bool = False
    """Whether tokens come with their scores."""
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | list[str] = Field(default=[])
    n: Literal[1] = 1
    frequency_penalty: float = Field(default=0, ge=0, le=0)
    presence_penalty: float = Field(default=0, ge=0, le=0)
    logprobs: Literal[False] = False
    parallel_tool_calls: Literal[True] = True
    response_format: _Plain = _Plain(type="text")
    store: Literal[False] = False
    user: str = ""
    """Accepted, and of no effect: nothing is kept by user."""


class ScoreRequest(_Asked):
    """The body of `/v1/score`."""

    model: str | None = None
    conversations: list[dict[str, Any] | str] = Field(min_length=1, max_length=_MOST_SCORED)
    """Each a row of a dataset (docs/datasets.md), such as `{"messages": […]}`, or the text of one user turn."""


@dataclass(frozen=True)
class Chat:
    """A reply that is asked for."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    longest: int
    """Tokens of the longest reply."""
    stops: tuple[str, ...]
    seed: int
    sampling: Mapping[str, Any]
    """Fields of `Sampling`, but for the seed."""


A = TypeVar("A", bound=_Asked)


def read_asked(schema: type[A], body: object) -> A:
    """The request that a JSON body holds; null is absence.

    Raises:
        RefusalError: 400, naming the first field that is wrong or not known.
    """
    if not is_object(body):
        raise RefusalError(400, "the body is not a JSON object.")
    try:
        return schema.model_validate({name: value for name, value in body.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        param = ".".join(str(part) for part in first["loc"])
        problem = "is not supported" if first["type"] == "extra_forbidden" else first["msg"]
        raise RefusalError(400, f"{param}: {problem}.", param=param) from None


def chat_of(asked: ChatRequest, *, most: int) -> Chat:
    """The reply that a request asks for.

    Args:
        asked: the request.
        most: tokens of the longest reply that the server writes.

    Raises:
        RefusalError: 400, a field is out of range, or contradicts another.
        UserError: a message is malformed.
    """
    limits = {asked.max_tokens, asked.max_completion_tokens} - {None}
    if len(limits) > 1:
        raise RefusalError(400, "max_tokens and max_completion_tokens differ.", param="max_tokens")
    longest = next(iter(limits), None) or most
    if longest > most:
        raise RefusalError(400, f"max_tokens: the server writes {most} at most.", param="max_tokens")
    stops: Sequence[str] = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    if len(stops) > 4 or not all(stops):
        raise RefusalError(400, "stop: give up to 4 texts, none of them empty.", param="stop")
    tools = asked.tools if asked.tool_choice == "auto" else []
    id_ = f"chatcmpl-{uuid4().hex}"
    record = to_record({"ids": id_, "inputs": asked.messages, "tools": tools}, where="messages", default_id=id_)
    is_drawn = asked.temperature > 0
    sampling = {"do_sample": True, "temperature": asked.temperature, "top_p": asked.top_p} if is_drawn else {}
    # a seed is drawn where none is given, and told, so that the reply can be had again
    seed = secrets.randbits(31) if asked.seed is None else asked.seed
    return Chat(id_, record.messages, record.tools, longest, tuple(stops), seed, sampling)
