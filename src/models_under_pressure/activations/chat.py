"""Conversations as a model's chat template renders them, and where in the text each role speaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from models_under_pressure.activations.ragged import ASSISTANT, SYSTEM, USER
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash

TEMPLATE_DATE = date(2024, 7, 26)
"""The day that templates take for today; Llama 3's own default."""

_ROLE_CODES = {"system": SYSTEM, "developer": SYSTEM, "user": USER, "assistant": ASSISTANT}
"""Role -> code; any other role (tool, function) is input to the assistant, as a user's is."""
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
    normalisation: str | None


Turns = Sequence[tuple[str, list[int]]]
"""(role, indices of the messages that it says)."""


class ChatTemplate:
    """The chat template of a tokenizer, with a fixed date and no generation prompt."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer, self._name = tokenizer, name
        self.is_plain = not getattr(tokenizer, "chat_template", None)
        self.skeleton = lru_cache(maxsize=4096)(self._skeleton)

    def render(self, messages: Sequence[Message], *, record: str) -> Rendering:
        """Render a conversation.

        Raises:
            UserError: the template refuses it under every normalisation, or changes a content beyond recognition.
        """

        def refused(problem: str, remedy: str) -> UserError:
            return UserError(problem, where=f"record {record!r}", remedy=remedy)

        template = f"the chat template of {self._name}"
        skeleton = self.skeleton(tuple(message.role for message in messages))
        contents = [message.content for message in messages]
        if skeleton is None:
            roles = ", ".join(message.role for message in messages)
            raise refused(f"{template} refuses the roles {roles}.", "change the roles, or use another model.")
        if skeleton.normalisation:
            contents = [content.strip() for content in contents]
        try:
            text = self._apply(_turns_of(skeleton.normalisation, messages), lambda index: contents[index])
        except Exception as error:  # a template may raise anything
            raise refused(f"{template} fails ({error}).", "drop the record.") from error
        if not _is_unicode(text):
            problem = "the text holds half of a character (a lone surrogate)."
            raise refused(problem, "repair the text, or drop the record.")
        spans = _contents_in(text, skeleton, contents)
        if spans is None:
            problem = f"{template} changes the content, so its tokens cannot be told by role."
            raise refused(problem, "drop the record, or use another model.")
        return Rendering(text, spans, skeleton.normalisation)

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
        import re

        from jinja2 import TemplateError

        # by `raise_exception`, or as Python objects in a template's expressions do
        refusals = (TemplateError, TypeError, ValueError, LookupError, AttributeError)
        messages = [Message(role, "") for role in roles]
        for normalisation in _NORMALISATIONS:
            try:
                text = self._apply(_turns_of(normalisation, messages), _SLOT.format)
            except refusals:
                continue
            parts = re.split(_SLOT.format(r"(\d+)"), text)
            order = [int(index) for index in parts[1::2]]
            if sorted(order) == list(range(len(roles))):  # nothing dropped or repeated
                pieces = tuple(Piece(_ROLE_CODES.get(roles[index], USER), index) for index in order)
                return Skeleton(tuple(parts[::2]), pieces, normalisation)
        return None

    def _apply(self, turns: Turns, content: Callable[[int], str]) -> str:
        return self._tokenizer.apply_chat_template(
            [{"role": role, "content": "\n\n".join(content(index) for index in said)} for role, said in turns],
            tokenize=False,
            add_generation_prompt=False,
            chat_template=_PLAIN if self.is_plain else None,
            date_string=TEMPLATE_DATE.strftime("%d %b %Y"),
            strftime_now=TEMPLATE_DATE.strftime,
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_NORMALISATIONS = (
    None,
    "turns merged",
    "turns merged, system in user turn",
    "turns merged, system in user turn, empty first user turn",
)
"""Tried in this order: consecutive turns of one speaker become one (other roles than system, user and assistant speak
as the user), a system message goes before the next user turn's text, an empty user turn goes before a first assistant
turn. Contents are joined by a blank line and stripped."""


def _turns_of(normalisation: str | None, messages: Sequence[Message]) -> Turns:
    if normalisation is None:
        return [(message.role, [index]) for index, message in enumerate(messages)]
    folds_system = "system in user" in normalisation
    turns: list[tuple[str, list[int]]] = []
    for index, message in enumerate(messages):
        role = message.role if message.role in ("system", "user", "assistant") else "user"
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


def _contents_in(text: str, skeleton: Skeleton, contents: Sequence[str]) -> tuple[tuple[int, int, int], ...] | None:
    """Places of the contents: as they are or stripped; else (tool results as JSON) between the template's texts."""
    for change in (str, str.strip):
        ordered = [change(contents[piece.message]) for piece in skeleton.pieces]
        lengths = [len(content) for content in ordered]
        alternated = [part for pair in zip(skeleton.literals, [*ordered, ""], strict=True) for part in pair]
        if "".join(alternated) == text:
            return _spans(skeleton, lengths)
    lengths: list[int] = []
    position = len(skeleton.literals[0]) if text.startswith(skeleton.literals[0]) else -1
    for number, literal in enumerate(skeleton.literals[1:], start=1):
        is_last = number == len(skeleton.literals) - 1
        end = len(text) - len(literal) if is_last else text.find(literal, position)
        if position < 0 or end < position or not text.startswith(literal, end):
            return None
        lengths.append(end - position)
        position = end + len(literal)
    return _spans(skeleton, lengths)


def _spans(skeleton: Skeleton, lengths: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    spans: list[tuple[int, int, int]] = []
    position = 0
    for literal, piece, length in zip(skeleton.literals, skeleton.pieces, lengths, strict=False):
        position += len(literal)
        spans.append((position, position + length, piece.code))
        position += length
    return tuple(spans)
