"""Conversations: who speaks, what is said, thought and called, and how all of it reads as plain text."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Roles of a record's messages; `role_of` maps what other formats call them."""
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the assistant calls."""

    name: str
    arguments: str
    """JSON text of the arguments, or what stands in their place."""
    id: str | None = None
    """Name of this call, by which a tool's reply refers to it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str
    """What is said; a `<think>` block at its beginning is part of it."""
    thinking: str = ""
    """Reasoning that a record keeps apart from the content (`reasoning_content`)."""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    """Name of the speaker or of the tool that replies."""
    tool_call_id: str | None = None
    """The call that a tool replies to."""

    @property
    def spoken(self) -> str:
        """The whole turn in the stated text form: thinking, content, then one block per call."""
        parts = [f"<think>\n{self.thinking}\n</think>"] if self.thinking else []
        parts += [self.content] if self.content or not (self.thinking or self.tool_calls) else []
        return "\n".join(parts + [call_text(call) for call in self.tool_calls])


def call_text(call: ToolCall) -> str:
    """A call in the stated text form, which Hermes, Qwen 2.5 and Qwen 3 are trained on."""
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        arguments = call.arguments
    told = {"name": call.name, "arguments": arguments}
    return f"<tool_call>\n{json.dumps(told, ensure_ascii=False)}\n</tool_call>"


def tools_text(tools: Sequence[Mapping[str, Any]]) -> str:
    """Tool definitions in the stated text form: one JSON object a line."""
    lines = [json.dumps(tool, ensure_ascii=False) for tool in tools]
    return "\n".join(["Tools:", "<tools>", *lines, "</tools>"])


def split_thinking(content: str) -> tuple[str, str]:
    """The `<think>` block at the beginning of a content, and the rest; the first is empty where there is none."""
    match = _THOUGHT.match(content)
    return (match[1], content[match.end() :]) if match else ("", content)
