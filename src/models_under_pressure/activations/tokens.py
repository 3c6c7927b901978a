"""Conversations as token ids, with the role of each token."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Int8, Int32

from models_under_pressure.activations.chat import ChatTemplate, Rendering
from models_under_pressure.activations.ragged import TEMPLATE
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record

_BATCH = 256
"""Texts tokenised at once: enough for the tokenizer's own threads."""
_SHOWN = 20
"""Refused records named in a message; the store's attributes and the log list more."""


@dataclass(frozen=True, eq=False, slots=True)
class TokenisedRecord:
    """One conversation as the model reads it."""

    id: str
    token_ids: Int32[np.ndarray, "tokens"]
    roles: Int8[np.ndarray, "tokens"]


@dataclass(frozen=True)
class TokenisationReport:
    """Changes to conversations so that the model can read them, and what of them it does not read."""

    truncated: tuple[str, ...] = ()
    """Ids of records longer than the limit."""
    normalised: dict[str, int] = field(default_factory=dict[str, int])
    """What was changed so that the template says all of a conversation -> how often: records, turns, calls or ids."""
    neutralised: tuple[str, ...] = ()
    """Ids of records whose content spells special tokens; these are read as plain text."""
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    """Id of a record -> its characters that are in no token: reasoning or white space that a template strips, ids."""
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """Id of a record that is skipped -> the reason."""

    @property
    def row(self) -> dict[str, Any]:
        """The report as JSON; what is left out and what is refused only if there is something."""
        row: dict[str, Any] = {
            "truncated": list(self.truncated),
            "normalised": dict(sorted(self.normalised.items())),
            "neutralised": list(self.neutralised),
        }
        lost = {"left_out": self.left_out, "refused": self.refused}
        return row | {name: dict(value) for name, value in lost.items() if value}


class RefusedError(UserError):
    """More records cannot be read than may be skipped."""

    def __init__(self, refused: Mapping[str, str], *, allowed: int) -> None:
        shown = [f"record {id_!r}: {reason}" for id_, reason in list(refused.items())[:_SHOWN]]
        more = f" … and {len(refused) - _SHOWN} more." if len(refused) > _SHOWN else ""
        super().__init__(
            f"{len(refused)} records are refused, {allowed} may be. {' '.join(shown)}{more}",
            remedy="mend or drop them, use another model, or accept their number (`extract.allow_refused`, "
            "`--allow-refused`).",
        )
        self.refused = refused


def check_refused(refused: Mapping[str, str], *, allowed: int) -> None:
    """Accept that some records were skipped.

    Raises:
        RefusedError: more were than are allowed.
    """
    if len(refused) > allowed:
        raise RefusedError(refused, allowed=allowed)


def tokenise(
    records: Sequence[Record],
    tokenizer: Any,
    *,
    name: str,
    max_tokens: int,
    truncation_side: Literal["left", "right"],
    strict: bool = False,
    allow_refused: int | None = 0,
) -> tuple[list[TokenisedRecord], TokenisationReport]:
    """Render records through the chat template and tokenise the text, once, with exactly one BOS.

    A token that holds any character of a content has the role of its speaker; all others, and special tokens, are the
    template's.

    Args:
        records: conversations.
        tokenizer: a fast Hugging Face tokenizer.
        name: name of the model, for messages.
        max_tokens: longest record; longer ones are cut.
        truncation_side: side on which they are cut.
        strict: whether a record is refused of which the template leaves out a character.
        allow_refused: records that may be refused, which are then skipped; None is any number.

    Raises:
        RefusedError: more are refused, each named with the reason.
        UserError: the tokenizer does not say where its tokens lie.
    """
    template = ChatTemplate(tokenizer, name)
    reader = _Reader(tokenizer)
    tokenised: list[TokenisedRecord] = []
    truncated: list[str] = []
    neutralised: list[str] = []
    left_out: dict[str, int] = {}
    refused: dict[str, str] = {}
    normalised: Counter[str] = Counter()
    for start in range(0, len(records), _BATCH):
        rendered = list(_render(records[start : start + _BATCH], template, refused))
        for (record, rendering), read in zip(rendered, reader.read([one for _, one in rendered]), strict=True):
            lost = rendering.left_out + read.swallowed
            if strict and lost:
                refused[record.id] = f"the chat template of {name} leaves out {lost} characters."
                continue
            if lost:
                left_out[record.id] = lost
            normalised.update(rendering.changes)
            if read.spells_special:
                neutralised.append(record.id)
            ids, roles = read.ids, read.roles
            if len(ids) > max_tokens:
                truncated.append(record.id)
                kept = _kept(ids, max_tokens, truncation_side, reader.bos)
                ids, roles = ids[kept], roles[kept]
            tokenised.append(TokenisedRecord(record.id, ids, roles))
    if allow_refused is not None:
        check_refused(refused, allowed=allow_refused)
    return tokenised, TokenisationReport(tuple(truncated), dict(normalised), tuple(neutralised), left_out, refused)


def _render(
    records: Sequence[Record], template: ChatTemplate, refused: dict[str, str]
) -> Iterator[tuple[Record, Rendering]]:
    """The records that the template takes; the reason of each other one goes to `refused`."""
    for record in records:
        try:
            yield record, template.render(record.messages, record.tools, record=record.id)
        except UserError as error:
            refused[record.id] = error.problem


def _kept(ids: np.ndarray, limit: int, side: str, bos: int | None) -> np.ndarray:
    """Indices of the tokens that stay; a cut on the left keeps the BOS token, without which a model is not itself."""
    if side == "right":
        return np.arange(limit)
    if ids[0] == bos:
        return np.concatenate([[0], np.arange(len(ids) - limit + 1, len(ids))])
    return np.arange(len(ids) - limit, len(ids))


@dataclass(frozen=True, eq=False, slots=True)
class _Read:
    """A text as tokens."""

    ids: Int32[np.ndarray, "tokens"]
    roles: Int8[np.ndarray, "tokens"]
    spells_special: bool
    """Whether a content holds the text of a special token."""
    swallowed: int
    """Characters of contents that special tokens take in: white space, where a token is said to strip it."""


class _Reader:
    """Turns rendered text into ids and roles."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"{type(tokenizer).__name__} is a slow tokenizer and does not say where its tokens lie in the text.",
                remedy="use a model with a fast tokenizer (tokenizer.json).",
            )
        specials = {number: token for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        longest_first = sorted(specials.values(), key=lambda token: len(token.content), reverse=True)
        self._spelled = re.compile("|".join(re.escape(token.content) for token in longest_first) or r"(?!)")
        self._sides = {token.content: (token.lstrip, token.rstrip) for token in longest_first}
        """Special token -> whether it takes in the white space before and after it."""
        self._strips = any(map(any, self._sides.values()))
        self._is_special = np.zeros(max(specials, default=-1) + 2, dtype=bool)
        self._is_special[list(specials)] = True
        self.bos: int | None = tokenizer.bos_token_id
        self._adds_bos = self.bos is not None and tokenizer("a").input_ids[0] == self.bos

    def read(self, renderings: Sequence[Rendering]) -> Iterator[_Read]:
        """Yield each rendering as tokens."""
        hostile = [
            any(self._spelled.search(one.text, start, stop) for start, stop, _ in one.spans) for one in renderings
        ]
        plain = [one.text for one, is_hostile in zip(renderings, hostile, strict=True) if not is_hostile]
        encoded = iter(self._encode(plain))
        for rendering, is_hostile in zip(renderings, hostile, strict=True):
            ids, offsets = self._read_hostile(rendering) if is_hostile else next(encoded)
            special = self._is_special[np.minimum(ids, len(self._is_special) - 1)]
            roles, content = _roles(rendering, offsets)
            roles[special] = TEMPLATE
            swallowed = 0
            if self._strips:
                swallowed = sum(int(content[start:stop].sum()) for start, stop in offsets[special].tolist())
            if self.bos is not None and self._adds_bos and (not len(ids) or ids[0] != self.bos):
                ids, roles = np.insert(ids, 0, self.bos), np.insert(roles, 0, TEMPLATE)
            yield _Read(ids.astype(np.int32), roles, is_hostile, swallowed)

    def _encode(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        if not texts:
            return []
        found = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            split_special_tokens=False,
            verbose=False,
        )
        return [
            (np.array(ids, dtype=np.int64), np.array(offsets, dtype=np.int64).reshape(-1, 2))
            for ids, offsets in zip(found["input_ids"], found["offset_mapping"], strict=True)
        ]

    @cached_property
    def _backend(self) -> Any:
        """A tokenizer for parts of a text: none of them is the first word, which some tokenizers put a space before."""
        from tokenizers import Tokenizer

        described = self._tokenizer.backend_tokenizer.to_str()
        backend: Any = Tokenizer.from_str(re.sub(r'"prepend_scheme":\s*"first"', '"prepend_scheme":"never"', described))
        backend.no_truncation()
        backend.no_padding()
        return backend

    def _read_hostile(self, rendering: Rendering) -> tuple[np.ndarray, np.ndarray]:
        """Read special tokens only where the template wrote them; in a content they are ordinary text.

        A tokenizer cuts text at special tokens before anything else, so the parts between them can be read apart.
        """
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for start, stop, special in self._parts(rendering):
            backend = self._backend if start else self._tokenizer.backend_tokenizer
            before = backend.encode_special_tokens
            backend.encode_special_tokens = not special
            try:
                part = backend.encode(rendering.text[start:stop], add_special_tokens=False)
            finally:
                backend.encode_special_tokens = before
            ids += part.ids
            offsets += [(first + start, last + start) for first, last in part.offsets]
        return np.array(ids, dtype=np.int64), np.array(offsets, dtype=np.int64).reshape(-1, 2)

    def _parts(self, rendering: Rendering) -> Iterator[tuple[int, int, bool]]:
        """(start, stop, whether it is a special token) of the parts of a text, which together are all of it."""
        text, position = rendering.text, 0
        bounds = [0, *(place for start, stop, _ in rendering.spans for place in (start, stop)), len(text)]
        for begin, end in zip(bounds[::2], bounds[1::2], strict=True):  # the template's own text
            for match in self._spelled.finditer(text, max(begin, position), end):
                start, stop = match.span()
                before, after = self._sides[match[0]]
                while before and start > position and text[start - 1].isspace():
                    start -= 1
                while after and stop < len(text) and text[stop].isspace():
                    stop += 1
                if position < start:
                    yield position, start, False
                yield start, stop, True
                position = stop
        if position < len(text):
            yield position, len(text), False


def _roles(rendering: Rendering, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Role code of each token, that of the first content character that it covers; and which characters are content."""
    end = len(rendering.text)
    codes = np.full(end + 1, TEMPLATE, dtype=np.int8)
    for start, stop, code in rendering.spans:
        codes[start:stop] = code
    is_content = codes != TEMPLATE
    places = np.where(is_content, np.arange(end + 1), end)
    next_content = np.minimum.accumulate(places[::-1])[::-1]
    first = next_content[np.minimum(offsets[:, 0], end)]
    covered = first < np.maximum(offsets[:, 1], offsets[:, 0] + 1)
    return np.where(covered, codes[first], TEMPLATE).astype(np.int8), is_content
