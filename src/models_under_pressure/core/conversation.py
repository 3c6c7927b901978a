"""Conversations: who speaks, what is said, thought and called, and how all of it reads as plain text."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import is_list, is_object

_ROLES = {
    "system": ("system",),
    "developer": ("developer",),
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "model", "ai", "bot", "gpt", "chatbot"),
    "tool": ("tool", "function", "ipython", "observation"),
}
"""Role -> what formats call it, in any case."""
_ROLE_OF = {word: role for role, words in _ROLES.items() for word in words}
_THINKING_KEYS = ("reasoning_content", "reasoning", "thinking")
_SAYING_KEYS = {"content", *_THINKING_KEYS, "tool_calls", "function_call"}
IDS_LEFT_OUT = "ids of tool calls left out"
"""Name under which these are counted."""
_MESSAGE_KEYS = ("role", "content", *_THINKING_KEYS, "tool_calls", "function_call", "name", "tool_call_id")


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
        """The whole turn in the stated text form: name, thinking, content, then one block per call."""
        return spoken_text(self, frozenset())


Kind = Literal["tools", "calls", "reasoning"]
Native = frozenset[Kind]
"""What a chat template is told in its own form, and not as text in a turn."""


def spoken_text(message: Message, native: Native) -> str:
    """What is said in a turn in the stated text form, without what is native."""
    thinking = "" if "reasoning" in native else message.thinking
    calls = () if "calls" in native else message.tool_calls
    parts = [f"<think>\n{thinking}\n</think>"] if thinking else []
    parts += [message.content] if message.content or not (thinking or calls) else []
    told = "\n".join(parts + [call_text(call) for call in calls])
    return f"{message.name}: {told}" if message.name else told


def call_text(call: ToolCall) -> str:
    """A call in the stated text form, which Hermes, Qwen 2.5 and Qwen 3 are trained on."""
    told = {"name": call.name, "arguments": arguments_of(call)}
    return f"<tool_call>\n{json.dumps(told, ensure_ascii=False)}\n</tool_call>"


def arguments_of(call: ToolCall) -> Any:
    """The arguments as JSON means them, or their text where it is no JSON."""
    try:
        return json.loads(call.arguments)
    except (ValueError, RecursionError):
        return call.arguments


def respelled(call: ToolCall) -> int:
    """Characters by which a call's JSON gets shorter when it is written anew: line breaks, say, or a repeated key."""
    arguments = arguments_of(call)
    again = arguments if arguments == call.arguments else json.dumps(arguments, ensure_ascii=False)
    return max(0, len(call.arguments) - len(again))


def tools_text(tools: Sequence[Mapping[str, Any]]) -> str:
    """Tool definitions in the stated text form: one JSON object a line."""
    lines = [json.dumps(tool, ensure_ascii=False) for tool in tools]
    return "\n".join(["Tools:", "<tools>", *lines, "</tools>"])


def in_text_form(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], native: Native = frozenset()
) -> tuple[Sequence[Message], Counter[str]]:
    """The same conversation with everything in its contents, and how often what was changed or left out to that end.

    Tool definitions stand at the end of the first system turn, or in one of their own. What is native stays as it is.
    """
    calls = [] if "calls" in native else [call for message in messages for call in message.tool_calls]
    thinking = [] if "reasoning" in native else [message for message in messages if message.thinking]
    changes = Counter[str]()
    changes["tool definitions as text in the system turn"] = 0 if "tools" in native else len(tools)
    changes["tool calls as text in the turn"] = len(calls)
    changes["reasoning as a <think> block in the turn"] = len(thinking)
    changes["names written before the turn"] = sum(bool(message.name) for message in messages)
    if "calls" not in native:
        changes[IDS_LEFT_OUT] = len(call_ids(messages))
    changes = +changes
    if not changes:
        return messages, changes
    plain = [
        Message(
            message.role,
            spoken_text(message, native),
            thinking=message.thinking if "reasoning" in native else "",
            tool_calls=message.tool_calls if "calls" in native else (),
            tool_call_id=message.tool_call_id if "calls" in native else None,
        )
        for message in messages
    ]
    if tools and "tools" not in native:
        if plain and plain[0].role in ("system", "developer"):
            plain[0] = replace(plain[0], content=f"{plain[0].content}\n\n{tools_text(tools)}")
        else:
            plain.insert(0, Message("system", tools_text(tools)))
    return plain, changes


def call_ids(messages: Sequence[Message]) -> list[str]:
    """Ids of the calls, and of the calls that tools reply to."""
    calls = [call.id for message in messages for call in message.tool_calls]
    return [id_ for id_ in [*calls, *(message.tool_call_id for message in messages)] if id_]


def read_message(item: object, *, where: str) -> Message:
    """The message that an object of a record holds, in the forms that docs/datasets.md lists.

    Raises:
        UserError: naming `where`: it has no role or content, an unknown role, a part that is no text, or a key that
            would be lost.
    """
    if is_object(item) and "role" not in item and {"from", "value"} <= item.keys():
        item = {"role": item["from"], "content": item["value"]} | {
            key: value for key, value in item.items() if key not in ("from", "value")
        }
    if not is_object(item) or not isinstance(role := item.get("role"), str) or not item.keys() & _SAYING_KEYS:
        remedy = 'write messages as {"role": "user", "content": "…"}.'
        _refuse("message is not an object with `role` and `content`.", where, remedy)
    _refuse_lost(item, _MESSAGE_KEYS, "message", where)
    calls = tuple(_call(call, where=where) for call in _calls_of(item))
    thoughts = {str(item[key]) for key in _THINKING_KEYS if item.get(key)}
    if len(thoughts) > 1:
        _refuse("message has two different reasonings.", where, f"keep one of {', '.join(_THINKING_KEYS)}.")
    content = item.get("content")
    if content is None and not calls and not thoughts:
        _refuse("message has no content and no tool call.", where, "delete the message, or say what it says.")
    return Message(
        role=role_of(role, where=where),
        content=_content(content, where=where),
        thinking=next(iter(thoughts), ""),
        tool_calls=calls,
        name=_text_or_none(item, "name", where=where),
        tool_call_id=_text_or_none(item, "tool_call_id", where=where),
    )


def role_of(word: str, *, where: str) -> str:
    """The role that a format's word for a speaker stands for.

    Raises:
        UserError: naming `where`: the word is unknown.
    """
    role = _ROLE_OF.get(word.strip().lower())
    if role is None:
        known = "; ".join(f"{role}: {', '.join(words)}" for role, words in _ROLES.items())
        _refuse(f"unknown role {word!r}.", where, f"use one of these, in any case ({known}).")
    return role


def read_tools(value: object, *, where: str) -> tuple[Mapping[str, Any], ...]:
    """The tool definitions of a record: a list of objects, or a JSON string of one.

    Raises:
        UserError: naming `where`: it is something else.
    """
    if value in (None, "", []):
        return ()
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not is_list(value) or not all(is_object(tool) for tool in value):
        _refuse(
            "`tools` is not a list of tool definitions.",
            where,
            "give a list of objects, or rename the column if it means something else.",
        )
    return tuple(value)


def message_row(message: Message) -> dict[str, Any]:
    """A message as it is on disk; what it does not have is left out."""
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        row["reasoning_content"] = message.thinking
    if message.tool_calls:
        row["tool_calls"] = [
            ({"id": call.id} if call.id else {})
            | {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    named = {"name": message.name, "tool_call_id": message.tool_call_id}
    return row | {key: value for key, value in named.items() if value}


def _refuse(problem: str, where: str, remedy: str) -> NoReturn:
    raise UserError(problem, where=where, remedy=remedy)


def _refuse_lost(item: Mapping[str, Any], known: Sequence[str], what: str, where: str) -> None:
    """Refuse a key that says something and would not be read."""
    lost = sorted(key for key, value in item.items() if key not in known and value not in (None, "", [], {}))
    if lost:
        remedy = f"delete it, or move what it says into one of {', '.join(known)}."
        _refuse(f"{what} has the key {lost[0]!r}, which would be lost.", where, remedy)


def _content(value: object, *, where: str) -> str:
    """A string, or text parts joined in their order."""
    if value is None or isinstance(value, str):
        return value or ""
    if not is_list(value):
        _refuse(f"content is a {type(value).__name__}.", where, "give a string or a list of text parts.")
    texts: list[str] = []
    for part in value:
        text = part if isinstance(part, str) else part.get("text") if is_object(part) else None
        kind = part.get("type", "text") if is_object(part) else "text"
        if kind not in ("text", "input_text", "output_text") or not isinstance(text, str):
            _refuse(f"content has a part of the type {kind!r}, which is no text.", where, "delete the row or the part.")
        texts.append(text)
    return "".join(texts)


def _calls_of(item: Mapping[str, Any]) -> list[Any]:
    calls: Any = item.get("tool_calls") or []
    return [*(calls if is_list(calls) else [calls]), *([item["function_call"]] if item.get("function_call") else [])]


def _call(item: object, *, where: str) -> ToolCall:
    inner = item.get("function", item) if is_object(item) else None
    if not is_object(item) or not is_object(inner) or not isinstance(name := inner.get("name"), str) or not name:
        _refuse("a tool call names no function.", where, 'write {"function": {"name": "…", "arguments": {…}}}.')
    _refuse_lost(item if inner is not item else {}, ("id", "type", "index", "function"), "tool call", where)
    _refuse_lost(inner, ("id", "type", "index", "name", "arguments", "parameters"), "tool call", where)
    arguments = inner.get("arguments", inner.get("parameters", ""))
    told = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    id_ = item.get("id")
    return ToolCall(name, told, None if id_ is None else str(id_))


def _text_or_none(item: Mapping[str, Any], key: str, *, where: str) -> str | None:
    value = item.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        _refuse(f"`{key}` of a message is a {type(value).__name__}.", where, "give a string.")
    return value
