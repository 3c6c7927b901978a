"""Conversations as a model's chat template renders them, and where in the text each role speaks."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, lru_cache
from typing import Any

from models_under_pressure.activations.comparison import changed, find_json
from models_under_pressure.activations.forms import (
    NORMALISATIONS,
    ROLE_CODES,
    Form,
    Marks,
    Part,
    Places,
    forms_of,
    merged,
    plain,
    turns_of,
    without_ids,
)
from models_under_pressure.activations.ragged import SYSTEM
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash

TEMPLATE_DATE = date(2024, 7, 26)
"""The day that templates take for today; Llama 3's own default."""

_SLOT = "mupslot{}x"
"""Stands for a message's content while the template's own text is found out."""
_PLAIN = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
"""For models without a chat template."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Content of one message inside a turn."""

    code: int
    message: int
    """Index of the message."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A template's own text around the contents, for one sequence of roles."""

    literals: tuple[str, ...]
    """The template's text before, between and after the pieces."""
    pieces: tuple[Piece, ...]
    normalisation: str | None
    """How the conversation was changed so that the template accepts it."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A conversation as text."""

    text: str
    spans: tuple[tuple[int, int, int], ...]
    """(start, stop, role code) of each content, in characters; the rest is the template's."""
    changes: Mapping[str, int] = field(default_factory=dict[str, int])
    """What was changed so that the template says all of the conversation -> how often."""
    left_out: int = 0
    """Characters of the conversation that are not in the text."""


class _FailsError(Exception):
    """A template refuses a form, or does not tell all of it."""


class ChatTemplate:
    """The chat template of a tokenizer, with a fixed date and no generation prompt."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer, self._name = tokenizer, name
        self.is_plain = not getattr(tokenizer, "chat_template", None)
        self.skeleton = lru_cache(maxsize=4096)(self._skeleton)

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), *, record: str) -> Rendering:
        """Render a conversation; calls, tools and reasoning as the template takes them, or else as text.

        Raises:
            UserError: the template refuses it under every normalisation, or changes a content beyond recognition.
        """
        rendering = None if tools or not all(map(_is_simple, messages)) else self._render_simple(messages)
        if rendering is None:
            rendering = self._render(messages, tools, record)
        if not _is_unicode(rendering.text):
            problem = "the text holds half of a character (a lone surrogate)."
            raise _refused(record, problem, "repair the text, or drop the record.")
        return rendering

    def _render_simple(self, messages: Sequence[Message]) -> Rendering | None:
        """Contents that come back as they are, or stripped, in the places that the roles tell; None if they do not."""
        skeleton = self.skeleton(tuple(message.role for message in messages))
        if skeleton is None:
            return None
        normalisation = skeleton.normalisation
        contents = [message.content.strip() if normalisation else message.content for message in messages]
        turns = turns_of(normalisation, messages)
        told = [{"role": role, "content": "\n\n".join(contents[index] for index in said)} for role, said in turns]
        try:
            text = self._apply(told)
        except _FailsError:
            return None
        for change in (str, str.strip):
            ordered = [change(contents[piece.message]) for piece in skeleton.pieces]
            alternated = [part for pair in zip(skeleton.literals, [*ordered, ""], strict=True) for part in pair]
            if "".join(alternated) == text:
                left_out = sum(len(message.content) for message in messages) - sum(map(len, ordered))
                changes = dict(merged(normalisation, messages)) if normalisation else {}
                return Rendering(text, _spans(skeleton, [len(content) for content in ordered]), changes, left_out)
        return None

    def _render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], record: str) -> Rendering:
        """The first form that comes back whole; where a template strips what turns hold, the one that keeps most."""
        roles = tuple(message.role for message in messages)
        reason, found = "", list[tuple[int, Rendering]]()
        for form in forms_of(messages, tools, self._reasoning_key):
            try:
                found.append(self._place(form))
            except (_FailsError, ValueError) as error:
                reason = str(error)
                continue
            if form.calls == "text" or not found[-1][0]:
                return min(found, key=lambda one: one[0])[1]
        template = f"the chat template of {self._name}"
        if self.skeleton(roles) is None:
            problem = f"{template} refuses the roles {', '.join(roles)}."
            raise _refused(record, problem, "change the roles, or use another model.")
        problem = f"{template} changes the content, so its tokens cannot be told by role ({reason})."
        raise _refused(record, problem, "drop the record, or use another model.")

    def _place(self, form: Form) -> tuple[int, Rendering]:
        """Where the texts of a form stand in what the template makes of it, after the characters of turns that do not.

        Raises:
            _FailsError: the template refuses it.
            ValueError: a text does not come back, or not so that its place is known.
        """
        text = self._apply(*form.told(plain))
        marks, bare = Marks(absent_from=text), Marks(absent_from=text, bare=True)
        marked, places = marks.found(self._apply(*form.told(marks)))
        if marked != text:
            raise ValueError("a text changes what is around it")
        if form.calls != "text":
            form = without_ids(form, calls=not self._writes_ids[0], replies=not self._writes_ids[1])
        stripped, left_out = 0, form.left_out
        for number, part in enumerate(marks.parts):
            if number in places:
                left_out += changed(part.text, text[slice(*places[number])])
            elif part.may_go:
                left_out += part.characters
                stripped += part.characters if part.in_turn else 0
            else:
                raise ValueError(f"{part.text[:20]!r} does not come back")
        lost = marks.lost_around(text, places, *bare.found(self._apply(*form.told(bare))))
        changes = form.changes + Counter(self._developers(form, text))
        spans = _placed(text, marks.parts, places, lost)
        return stripped, Rendering(text, spans, dict(changes), left_out + sum(lost.values()))

    def _developers(self, form: Form, text: str) -> dict[str, int]:
        """Developer turns, if the template makes of them what it makes of system turns."""
        count = 0 if form.normalisation else sum(message.role == "developer" for message in form.messages)
        if not count:
            return {}
        as_system = [replace(one, role="system") if one.role == "developer" else one for one in form.messages]
        try:
            is_same = self._apply(*replace(form, messages=as_system).told(plain)) == text
        except _FailsError:
            is_same = False
        return {"developer turns as system turns": count} if is_same else {}

    @cached_property
    def _reasoning_key(self) -> str | None:
        """Key under which the template takes the reasoning of a last turn."""
        slot = _SLOT.format(0)
        for key in ("reasoning_content", "reasoning", "thinking"):
            told = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", key: slot}]
            with suppress(_FailsError):
                if self._apply(told).count(slot) == 1:
                    return key
        return None

    @cached_property
    def _writes_ids(self) -> tuple[bool, bool]:
        """Whether the template writes the ids of calls, and those by which tools reply."""
        ids = ("mupcall01", "mupreply1")  # nine letters and digits, as Mistral's are
        for arguments, content in (({"a": 1}, ""), ('{"a": 1}', None)):
            call = {"id": ids[0], "type": "function", "function": {"name": "f", "arguments": arguments}}
            told: list[dict[str, Any]] = [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": content, "tool_calls": [call]},
                {"role": "tool", "content": "b", "tool_call_id": ids[1]},
            ]
            with suppress(_FailsError):
                text = self._apply(told)
                return ids[0] in text, ids[1] in text
        return False, False

    @property
    def hash(self) -> str:
        """Hash of what the template makes of sample conversations, so of its source, date and normalisation."""
        samples = (
            ("user",),
            ("system", "user"),
            ("user", "assistant", "user"),
            ("system", "assistant", "user", "user"),
        )
        skeletons = [self.skeleton(roles) for roles in samples]
        return stable_hash([[list(s.literals), s.normalisation] if s else None for s in skeletons])[:16]

    def _skeleton(self, roles: tuple[str, ...]) -> Skeleton | None:
        messages = [Message(role, "") for role in roles]
        for normalisation in NORMALISATIONS:
            turns = turns_of(normalisation, messages)
            told = [{"role": role, "content": "\n\n".join(map(_SLOT.format, said))} for role, said in turns]
            try:
                text = self._apply(told)
            except _FailsError:
                continue
            parts = re.split(_SLOT.format(r"(\d+)"), text)
            order = [int(index) for index in parts[1::2]]
            if sorted(order) == list(range(len(roles))):  # nothing dropped or repeated
                pieces = tuple(Piece(ROLE_CODES[roles[index]], index) for index in order)
                return Skeleton(tuple(parts[::2]), pieces, normalisation)
        return None

    def _apply(self, messages: list[dict[str, Any]], tools: list[Any] | None = None) -> str:
        try:
            return self._tokenizer.apply_chat_template(
                messages,
                tools=tools or None,
                tokenize=False,
                add_generation_prompt=False,
                chat_template=_PLAIN if self.is_plain else None,
                date_string=TEMPLATE_DATE.strftime("%d %b %Y"),
                strftime_now=TEMPLATE_DATE.strftime,
            )
        except Exception as error:  # a template may raise anything
            raise _FailsError(str(error)) from error


def _refused(record: str, problem: str, remedy: str) -> UserError:
    return UserError(problem, where=f"record {record!r}", remedy=remedy)


def _is_simple(message: Message) -> bool:
    """Whether a message is nothing but a role and a content of that role."""
    return not (
        message.thinking
        or message.tool_calls
        or message.name
        or message.tool_call_id
        or message.role == "developer"
        or (message.role == "assistant" and "think>" in message.content)
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _placed(
    text: str, parts: Sequence[Part], places: Places, lost: Mapping[int | None, int]
) -> tuple[tuple[int, int, int], ...]:
    """(start, stop, role code) of parts in their order in the text, with the white space around them that came back.

    Raises:
        ValueError: parts overlap, or the JSON that comes with one does not come back whole beside it.
    """
    spans: list[tuple[int, int, int]] = []
    before = 0
    for number, following in zip(places, [*list(places)[1:], None], strict=True):
        part, (start, stop) = parts[number], places[number]
        limit = len(text) if following is None else places[following][0]
        if part.holds is not None:
            found = find_json(text, part.holds, before if part.code == SYSTEM else stop, limit)
            if found is None:
                raise ValueError(f"the JSON of {part.text!r} does not come back")
            start, stop = (min(start, found[0]) if part.code == SYSTEM else start), max(stop, found[1])
        else:
            if not lost[number] and text.endswith(part.lead, before, start):
                start -= len(part.lead)
            if not lost[following] and text.startswith(part.trail, stop, limit):
                stop += len(part.trail)
        spans.append((start, stop, part.code))
        before = stop
    return tuple(spans)


def _spans(skeleton: Skeleton, lengths: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    spans: list[tuple[int, int, int]] = []
    position = 0
    for literal, piece, length in zip(skeleton.literals, skeleton.pieces, lengths, strict=False):
        position += len(literal)
        spans.append((position, position + length, piece.code))
        position += length
    return tuple(spans)
