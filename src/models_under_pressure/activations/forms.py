"""The forms in which a conversation can be told to a chat template, and where its texts stand in what comes back.

A form is told three times: as it is, with a mark on either side of every text, and with bare texts, their white space
stripped. The marks say what came back and where; the lengths say how much white space did not.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Literal, Protocol

from models_under_pressure.activations.ragged import ASSISTANT, SYSTEM, THINKING, TOOL, USER
from models_under_pressure.core.conversation import (
    IDS_LEFT_OUT,
    Kind,
    Message,
    Native,
    ToolCall,
    arguments_of,
    call_ids,
    in_text_form,
    respelled,
)
from models_under_pressure.core.files import is_object

ROLE_CODES = {"system": SYSTEM, "developer": SYSTEM, "user": USER, "assistant": ASSISTANT, "tool": TOOL}
"""Role -> code of what is said; what is thought has one of its own."""
_MERGED_AS = {"developer": "system", "tool": "user"}
"""Role -> the role whose turn says it where turns are merged."""
NORMALISATIONS = (
    None,
    "turns merged",
    "turns merged, system in user turn",
    "turns merged, system in user turn, empty first user turn",
)
"""Tried in this order: consecutive turns of one speaker become one (a developer speaks as the system, a tool as the
user), a system message goes before the next user turn's text, an empty user turn goes before a first assistant turn.
Contents are joined by a blank line and stripped."""
Places = Mapping[int, tuple[int, int]]
"""Number of a part -> (start, stop) of it in what came back, in their order there."""
Turns = Sequence[tuple[str, list[int]]]
"""(role, indices of the messages that it says)."""


def turns_of(normalisation: str | None, messages: Sequence[Message]) -> Turns:
    """The turns that say some messages, normalised."""
    if normalisation is None:
        return [(message.role, [index]) for index, message in enumerate(messages)]
    folds_system = "system in user" in normalisation
    turns: list[tuple[str, list[int]]] = []
    for index, message in enumerate(messages):
        role = _MERGED_AS.get(message.role, message.role)
        if folds_system and role == "system":
            role = "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].append(index)
        else:
            turns.append((role, [index]))
    first = next((place for place, (role, _) in enumerate(turns) if role != "system"), 0)
    if "empty first" in normalisation and turns[first][0] == "assistant":
        turns.insert(first, ("user", []))
    return turns


def merged(normalisation: str, messages: Sequence[Message]) -> Counter[str]:
    """What a normalisation changes, and the turns that it tells as another role's."""
    others = (f"{one.role} turns as {_MERGED_AS[one.role]} turns" for one in messages if one.role in _MERGED_AS)
    return Counter([normalisation, *others])


class Mark(Protocol):
    """How a text is told to a template."""

    def __call__(self, text: str, code: int, *, whole: bool = True, holds: object = None) -> str:
        """The text to tell.

        Args:
            text: a text of the record.
            code: role code of its tokens.
            whole: whether it is of one role; else its `<think>` blocks are thinking.
            holds: JSON value that comes with the text (the arguments after a function's name, the definition around a
                tool's name), all of which must come back beside it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A text of a record, or a piece of one."""

    text: str
    """Without the white space at its ends."""
    code: int
    lead: str
    trail: str
    may_go: bool
    """Whether a template may leave it out, and the conversation be told nevertheless: reasoning, and what is before."""
    in_turn: bool
    """Whether it is a piece of a turn with `<think>` blocks."""
    holds: object

    @property
    def characters(self) -> int:
        """Characters that are left out if it is."""
        return len(self.lead) + len(self.text) + len(self.trail)


@dataclass(frozen=True)
class Form:
    """A conversation in one form."""

    messages: Sequence[Message]
    changes: Counter[str]
    """What differs from the record, and how often."""
    tools: Sequence[Mapping[str, Any]] = ()
    """Definitions that the template is given as such."""
    calls: Literal["text", "object", "string"] = "text"
    """How calls are told: in the content, or as such with arguments as an object, or as a string beside no content."""
    reasoning_key: str | None = None
    """Key of the reasoning, where the template is given it as such."""
    normalisation: str | None = None
    left_out: int = 0
    """Characters of the record that the form leaves out."""

    def told(self, mark: Mark) -> tuple[list[dict[str, Any]], list[Any]]:
        """Messages and tools as a template takes them."""
        if self.normalisation is None:
            messages = [self._message(message, mark) for message in self.messages]
        else:
            messages = [
                {"role": role, "content": "\n\n".join(_content(self.messages[index], mark) for index in said)}
                for role, said in turns_of(self.normalisation, self.messages)
            ]
        return messages, [_definition(tool, mark) for tool in self.tools]

    def _message(self, message: Message, mark: Mark) -> dict[str, Any]:
        told: dict[str, Any] = {"role": message.role, "content": _content(message, mark)}
        if message.thinking and self.reasoning_key:
            told[self.reasoning_key] = mark(message.thinking, THINKING)
        if message.tool_calls:
            if self.calls == "string" and not message.content:
                told["content"] = None
            told["tool_calls"] = [self._call(call, mark) for call in message.tool_calls]
        return told | ({"tool_call_id": message.tool_call_id} if message.tool_call_id else {})

    def _call(self, call: ToolCall, mark: Mark) -> dict[str, Any]:
        told = {"id": call.id} if call.id else {}
        if self.calls == "string":
            function = {"name": mark(call.name, ASSISTANT), "arguments": mark(call.arguments, ASSISTANT)}
        else:
            arguments = arguments_of(call)
            function = {"name": mark(call.name, ASSISTANT, holds=arguments), "arguments": arguments}
        return {**told, "type": "function", "function": function}


def _content(message: Message, mark: Mark) -> str:
    return mark(message.content, ROLE_CODES[message.role], whole=message.role != "assistant")


def _definition(tool: Mapping[str, Any], mark: Mark) -> dict[str, Any]:
    """A definition whose name is marked."""
    function = tool.get("function")
    if is_object(function) and isinstance(name := function.get("name"), str):
        return {**tool, "function": {**function, "name": mark(name, SYSTEM, holds=tool)}}
    if isinstance(name := tool.get("name"), str):
        return {**tool, "name": mark(name, SYSTEM, holds=tool)}
    raise ValueError("the tool has no name")


def forms_of(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], reasoning_key: str | None
) -> Iterator[Form]:
    """The forms of a conversation: first those that leave most to the template, at last as text with turns changed."""
    calls = _only_assistant(message.role for message in messages if message.tool_calls)
    reasoning = reasoning_key is not None and _only_assistant(message.role for message in messages if message.thinking)
    for takes_tools in (True, False) if tools else (False,):
        for told in ("object", "string", "text") if calls else ("text",):
            flags: dict[Kind, bool] = {"tools": takes_tools, "calls": told != "text", "reasoning": reasoning}
            native: Native = frozenset(kind for kind, is_native in flags.items() if is_native)
            if native:
                yield Form(
                    *in_text_form(messages, tools, native),
                    tools=tools if takes_tools else (),
                    calls=told,
                    reasoning_key=reasoning_key if reasoning else None,
                    left_out=_rewritten(messages, told),
                )
    text, changes = in_text_form(messages, tools)
    left_out = _rewritten(messages, "text")
    yield Form(text, changes, left_out=left_out)
    stripped = [replace(message, content=message.content.strip()) for message in text]
    left_out += sum(len(before.content) - len(after.content) for before, after in zip(text, stripped, strict=True))
    for normalisation in NORMALISATIONS[1:]:
        all_changes = changes + merged(normalisation, messages)
        yield Form(stripped, all_changes, normalisation=normalisation, left_out=left_out)


def _only_assistant(roles: Iterable[str]) -> bool:
    """Whether the assistant does it, and nobody else: templates do not ask who calls or thinks."""
    return set(roles) == {"assistant"}


def _rewritten(messages: Sequence[Message], told: str) -> int:
    """Characters that a form itself leaves out: of ids, which have no place in a text, and of JSON written anew."""
    ids = sum(map(len, call_ids(messages))) if told == "text" else 0
    calls = () if told == "string" else [call for message in messages for call in message.tool_calls]
    return ids + sum(map(respelled, calls))


def without_ids(form: Form, *, calls: bool, replies: bool) -> Form:
    """The form, with the ids counted that a template does not write.

    Args:
        form: a form whose calls are told as such.
        calls: whether the template leaves out the ids of calls.
        replies: whether it leaves out the ids by which tools reply.
    """
    lost = [call.id for message in form.messages for call in message.tool_calls if calls and call.id]
    lost += [message.tool_call_id for message in form.messages if replies and message.tool_call_id]
    changes = +(form.changes + Counter({IDS_LEFT_OUT: len(lost)}))
    return replace(form, changes=changes, left_out=form.left_out + sum(map(len, lost)))


_TAG = re.compile(r"(</?think>)")


def _pieces(text: str, code: int, *, whole: bool) -> list[tuple[str, int | None]]:
    """(text, role code) of a text cut at its tags, which have no code."""
    if whole or "think>" not in text:
        return [(text, code)]
    cut = _TAG.split(text)
    pieces: list[tuple[str, int | None]] = []
    for place, piece in enumerate(cut):
        opener, closer = cut[place - 1] if place else "", cut[place + 1] if place + 1 < len(cut) else ""
        thinks = opener == "<think>" or (closer == "</think>" and opener != "</think>")
        pieces.append((piece, None if place % 2 else THINKING if thinks else code))
    return pieces


def plain(text: str, code: int, *, whole: bool = True, holds: object = None) -> str:
    """The text as it is."""
    return text


class Marks:
    """Marks texts, inside the white space at their ends, which a template may strip."""

    def __init__(self, *, absent_from: str, bare: bool = False) -> None:
        """Marks that do not occur in a text; `bare` tells no white space at the ends of texts."""
        self._salt, self._bare = "mupslot", bare
        while self._salt in absent_from:
            self._salt += "z"
        self.parts: list[Part] = []
        self._loose, self._tags = Counter[int](), Counter[int]()
        """Number of a part -> characters after it of white space that is a text of its own, and of tags."""

    def __call__(self, text: str, code: int, *, whole: bool = True, holds: object = None) -> str:
        """The text between marks."""
        told: list[str] = []
        pieces = _pieces(text, code, whole=whole)
        for place, (piece, own) in enumerate(pieces):
            core, number = piece.strip(), len(self.parts)
            if own is None or not core:
                (self._tags if own is None else self._loose)[number - 1] += len(piece)
                told.append(core if self._bare else piece)
                continue
            start = piece.index(core)
            lead, trail = piece[:start], piece[start + len(core) :]
            may_go = own == THINKING or place < len(pieces) - 1
            self.parts.append(Part(core, own, lead, trail, may_go, len(pieces) > 1, holds))
            marked = f"{self._salt}a{number}q{core}{self._salt}b{number}q"
            told.append(marked if self._bare else f"{lead}{marked}{trail}")
        return "".join(told)

    def found(self, text: str) -> tuple[str, Places]:
        """What came back without the marks, and the place of each part that came back, in their order.

        Raises:
            ValueError: a part came back twice, or cut.
        """
        kept: list[str] = []
        ends: tuple[dict[int, int], dict[int, int]] = {}, {}
        position = 0
        cut = re.split(rf"{self._salt}([ab])(\d+)q", text)
        for piece, side, number in zip(cut[::3], [*cut[1::3], ""], [*cut[2::3], ""], strict=True):
            kept.append(piece)
            position += len(piece)
            if side and ends[side == "b"].setdefault(int(number), position) != position:
                raise ValueError("a text comes back twice")
        if ends[0].keys() != ends[1].keys():
            raise ValueError("a text comes back cut")
        order = sorted(ends[0], key=ends[0].__getitem__)
        return "".join(kept), {number: (ends[0][number], ends[1][number]) for number in order}

    def lost_around(self, text: str, places: Places, bare_text: str, bare_places: Places) -> dict[int | None, int]:
        """Characters of white space and tags that did not come back, before each part and after the last (None).

        Args:
            text: what came back of the texts.
            places: places of the parts in it.
            bare_text: what came back of the same texts without the white space at their ends.
            bare_places: places of the parts in it.
        """
        lost: dict[int | None, int] = {}
        last, start, bare_start = -1, 0, 0
        for number in [*places, None]:
            end, next_start = (len(text), 0) if number is None else places[number]
            bare_end, next_bare = (
                bare_places.get(number, (len(bare_text), 0)) if number is not None else (len(bare_text), 0)
            )
            passed = self._passed(last, places)
            spaces = sum(self._loose[one] for one in passed)
            spaces += len(self.parts[last].trail) if last >= 0 else 0
            spaces += len(self.parts[number].lead) if number is not None else 0
            tags = sum(self._tags[one] for one in passed) - sum(map(len, _TAG.findall(text, start, end)))
            came = (end - start) - (bare_end - bare_start)
            lost[number] = min(spaces, max(0, spaces - came)) + max(0, tags)
            last, start, bare_start = -1 if number is None else number, next_start, next_bare
        return lost

    def _passed(self, number: int, places: Places) -> list[int]:
        """A part, and those told after it up to the next that came back."""
        after = range(number + 1, len(self.parts))
        return [number, *takewhile(lambda one: one not in places, after)]
