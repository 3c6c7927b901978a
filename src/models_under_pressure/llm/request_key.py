"""The key of a request: what was asked, and nothing of how it was sent."""

import re
from typing import Any

from models_under_pressure.core.files import stable_hash

_KEYED = (
    "model",
    "messages",
    "response_format",
    "tools",
    "tool_choice",
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
    "reasoning_effort",
    "reasoning",
    "stop",
    "n",
    "frequency_penalty",
    "presence_penalty",
)
"""Fields that shape the reply. Host, headers, routing, user and timeouts do not."""

_PYDANTIC_VERSION = re.compile(r"(?<=https://errors\.pydantic\.dev/)\d+\.\d+/")
"""A question asked again quotes pydantic's error, whose link holds pydantic's version."""


def keyed_request(body: dict[str, Any]) -> dict[str, Any]:
    """The part of a request's body that its key is made of, with one spelling per meaning."""
    request = dict(body)
    if "max_completion_tokens" in request:
        request["max_tokens"] = request.pop("max_completion_tokens")
    request["model"] = request["model"].removeprefix("openai/")  # OpenRouter's name of the same model
    request["messages"] = [
        {name: _PYDANTIC_VERSION.sub("", value) if isinstance(value, str) else value for name, value in message.items()}
        for message in request["messages"]
    ]
    for name in ("temperature", "top_p"):
        if request.get(name) is not None:
            request[name] = float(request[name])
    return {name: request[name] for name in _KEYED if request.get(name) is not None}


def request_key(body: dict[str, Any], *, sample: int) -> str:
    """SHA-256 (hex) of a request: equal at every endpoint and with every version of the libraries.

    `sample` tells repeated questions apart; it is never sent.
    """
    return stable_hash(keyed_request(body), sample)
