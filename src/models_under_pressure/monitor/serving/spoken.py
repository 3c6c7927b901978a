"""The text of a reply as it comes, cut at stop texts and sorted into reasoning, content and calls of tools."""

import json
from collections.abc import Sequence
from typing import Literal, TypeAlias

from models_under_pressure.core.conversation import ToolCall, arguments_of
from models_under_pressure.core.files import is_object

Kind = Literal["reasoning", "content", "call"]
Piece: TypeAlias = tuple[Kind, str]
"""What a piece of text is, and the piece; of a call its JSON."""

_THINK = ("<think>", "</think>")
_CALL = ("<tool_call>", "</tool_call>")


class Spoken:
    """A reply's text; pieces that may be the beginning of a stop text or of a mark are held back until it is known.

    Reasoning is a `<think>` block at the beginning; a call is a block of the stated text form
    (`core.conversation.call_text`), and stays content where its JSON names no function. Without the marks, the pieces
    are all of the text up to the stop text.
    """

    def __init__(self, stops: Sequence[str] = (), *, has_tools: bool = False) -> None:
        """Start before the first token.

        Args:
            stops: texts at which the reply ends; they are no part of it.
            has_tools: whether there are tools that it may call.
        """
        self._stops, self._has_tools = stops, has_tools
        self._state: Literal["start", "reasoning", "content", "call"] = "start"
        self._held = ""
        self._taken = 0
        self.text = ""
        """All of the text so far, without the stop text."""
        self.is_stopped = False
        """Whether a stop text was found."""

    def add(self, text: str) -> list[Piece]:
        """Take more text; what of it can be told."""
        if self.is_stopped:
            return []
        before, self.text = len(self.text), self.text + text
        longest = max(map(len, self._stops), default=0)
        found = [self.text.find(stop, max(0, before - longest)) for stop in self._stops]
        first = min((place for place in found if place >= 0), default=None)
        if first is not None:
            self.text, self.is_stopped = self.text[:first], True
        end = len(self.text)
        if not self.is_stopped:
            end -= max((_begun(self.text, stop) for stop in self._stops), default=0)
        self._held += self.text[self._taken : end]
        self._taken = end
        return self._sorted()

    def close(self, rest: str = "") -> list[Piece]:
        """Take the last of the text; all that was held back."""
        pieces = self.add(rest)
        self._held += self.text[self._taken :]
        self._taken = len(self.text)
        pieces += self._sorted()
        opened = _CALL[0] if self._state == "call" else ""
        kind: Kind = "reasoning" if self._state == "reasoning" else "content"
        held, self._held = opened + self._held, ""
        if held:
            pieces.append((kind, held))
        return pieces

    def _sorted(self) -> list[Piece]:
        pieces: list[Piece] = []
        while (found := self._next()) is not None:
            pieces += [found] if found[1] else []
        return pieces

    def _next(self) -> Piece | None:
        """The next piece of what is held back, maybe an empty one; None if all that remains must wait."""
        if self._state == "start":
            begun = self._held.lstrip()
            if begun.startswith(_THINK[0]):
                self._state, self._held = "reasoning", begun.removeprefix(_THINK[0])
            elif _THINK[0].startswith(begun):
                return None
            else:
                self._state = "content"
            return "content", ""
        if self._state == "reasoning":
            return self._until(_THINK[1], "reasoning", "content")
        if self._state == "content":
            return self._until(_CALL[0] if self._has_tools else "", "content", "call")
        body, mark, rest = self._held.partition(_CALL[1])
        if not mark:
            return None
        self._state, self._held = "content", rest
        return ("call", body) if read_call(body) else ("content", _CALL[0] + body + mark)

    def _until(self, mark: str, kind: Kind, following: Literal["content", "call"]) -> Piece | None:
        """The text before a mark; without the mark, all that is not its beginning."""
        place = self._held.find(mark) if mark else -1
        if place >= 0:
            told, self._held = self._held[:place], self._held[place + len(mark) :]
            self._state = following
            return kind, told
        waits = _begun(self._held, mark)
        told, self._held = self._held[: len(self._held) - waits], self._held[len(self._held) - waits :]
        return (kind, told) if told else None


def read_call(body: str) -> ToolCall | None:
    """The call that the JSON of a block names; None if it names none."""
    told = arguments_of(ToolCall("", body))
    if not is_object(told) or not isinstance(name := told.get("name"), str) or not name:
        return None
    arguments = told.get("arguments", told.get("parameters", {}))
    try:
        return ToolCall(name, json.dumps(arguments, allow_nan=False)) if is_object(arguments) else None
    except ValueError:
        return None


def _begun(text: str, mark: str) -> int:
    """Characters at the end of a text that are the beginning of a mark, but not all of it."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)
