"""Conversations as token ids, with the role of each token."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Int8, Int32

from models_under_pressure.activations.chat import ChatTemplate, Rendering
from models_under_pressure.activations.ragged import TEMPLATE
from models_under_pressure.core.conversation import in_text_form
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record

_BATCH = 256
"""Texts tokenised at once: enough for the tokenizer's own threads."""


@dataclass(frozen=True, eq=False, slots=True)
class TokenisedRecord:
    """One conversation as the model reads it."""

    id: str
    token_ids: Int32[np.ndarray, "tokens"]
    roles: Int8[np.ndarray, "tokens"]


@dataclass(frozen=True)
class TokenisationReport:
    """Changes to conversations so that the model can read them."""

    truncated: tuple[str, ...] = ()
    """Ids of records longer than the limit."""
    normalised: dict[str, int] = field(default_factory=dict[str, int])
    """What was changed so that the template says all of a conversation -> how often: records, turns, calls or ids."""
    neutralised: tuple[str, ...] = ()
    """Ids of records whose content spells special tokens; these are read as plain text."""


def tokenise(
    records: Sequence[Record], tokenizer: Any, *, name: str, max_tokens: int, truncation_side: Literal["left", "right"]
) -> tuple[list[TokenisedRecord], TokenisationReport]:
    """Render records through the chat template and tokenise the text, once, with exactly one BOS.

    A token that holds any character of a content has the role of its speaker; all others are the template's.

    Raises:
        UserError: naming the record that the template refuses, or that has no BOS where the model wants one.
    """
    template = ChatTemplate(tokenizer, name)
    reader = _Reader(tokenizer)
    tokenised: list[TokenisedRecord] = []
    truncated: list[str] = []
    neutralised: list[str] = []
    normalised: Counter[str] = Counter()
    for start in range(0, len(records), _BATCH):
        batch = records[start : start + _BATCH]
        forms = [in_text_form(record.messages, record.tools) for record in batch]
        for _, changes in forms:
            normalised.update(changes)
        renderings = [
            template.render(messages, record=record.id) for record, (messages, _) in zip(batch, forms, strict=True)
        ]
        for record, rendering, (ids, roles) in zip(batch, renderings, reader.read(renderings), strict=True):
            if rendering.normalisation:
                normalised[rendering.normalisation] += 1
            if reader.spells_special(rendering):
                neutralised.append(record.id)
            if len(ids) > max_tokens:
                truncated.append(record.id)
                kept = _kept(ids, max_tokens, truncation_side, reader.bos)
                ids, roles = ids[kept], roles[kept]
            tokenised.append(TokenisedRecord(record.id, ids, roles))
    return tokenised, TokenisationReport(tuple(truncated), dict(normalised), tuple(neutralised))


def _kept(ids: np.ndarray, limit: int, side: str, bos: int | None) -> np.ndarray:
    """Indices of the tokens that stay; a cut on the left keeps the BOS token, without which a model is not itself."""
    if side == "right":
        return np.arange(limit)
    if ids[0] == bos:
        return np.concatenate([[0], np.arange(len(ids) - limit + 1, len(ids))])
    return np.arange(len(ids) - limit, len(ids))


class _Reader:
    """Turns rendered text into ids and roles."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"{type(tokenizer).__name__} is a slow tokenizer and does not say where its tokens lie in the text.",
                remedy="use a model with a fast tokenizer (tokenizer.json).",
            )
        specials = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        longest_first = sorted(specials, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first))) if specials else re.compile(r"(?!)")
        self.bos: int | None = tokenizer.bos_token_id
        self._adds_bos = self.bos is not None and tokenizer("a").input_ids[0] == self.bos

    def spells_special(self, rendering: Rendering) -> bool:
        """Whether a content holds the text of a special token."""
        return any(self._special.search(rendering.text, start, stop) for start, stop, _ in rendering.spans)

    def read(self, renderings: Sequence[Rendering]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the ids and roles of each rendering."""
        plain = [rendering for rendering in renderings if not self.spells_special(rendering)]
        encoded = iter(self._encode([rendering.text for rendering in plain], special=True))
        for rendering in renderings:
            ids, offsets = self._read_hostile(rendering) if self.spells_special(rendering) else next(encoded)
            roles = _roles(rendering, offsets)
            if self.bos is not None and self._adds_bos and (not len(ids) or ids[0] != self.bos):
                ids, roles = np.insert(ids, 0, self.bos), np.insert(roles, 0, TEMPLATE)
            yield ids.astype(np.int32), roles

    def _encode(self, texts: Sequence[str], *, special: bool) -> list[tuple[np.ndarray, np.ndarray]]:
        if not texts:
            return []
        found = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            split_special_tokens=not special,
            verbose=False,
        )
        return [
            (np.array(ids, dtype=np.int64), np.array(offsets, dtype=np.int64).reshape(-1, 2))
            for ids, offsets in zip(found["input_ids"], found["offset_mapping"], strict=True)
        ]

    def _read_hostile(self, rendering: Rendering) -> tuple[np.ndarray, np.ndarray]:
        """Read special tokens only where the template wrote them; in a content they are ordinary text.

        A tokenizer cuts text at special tokens before anything else, so the parts between them can be read apart.
        """
        ids: list[np.ndarray] = []
        offsets: list[np.ndarray] = []
        for start, stop, special in self._parts(rendering):
            part_ids, part_offsets = self._encode([rendering.text[start:stop]], special=special)[0]
            ids.append(part_ids)
            offsets.append(part_offsets + start)
        return np.concatenate(ids), np.concatenate(offsets)

    def _parts(self, rendering: Rendering) -> Iterator[tuple[int, int, bool]]:
        position = 0
        for match in self._special.finditer(rendering.text):
            if any(start < match.end() and match.start() < stop for start, stop, _ in rendering.spans):
                continue
            if position < match.start():
                yield position, match.start(), False
            yield match.start(), match.end(), True
            position = match.end()
        if position < len(rendering.text):
            yield position, len(rendering.text), False


def _roles(rendering: Rendering, offsets: np.ndarray) -> np.ndarray:
    """Role code of each token: of the first content character that it covers."""
    end = len(rendering.text)
    codes = np.full(end + 1, TEMPLATE, dtype=np.int8)
    for start, stop, code in rendering.spans:
        codes[start:stop] = code
    places = np.where(codes == TEMPLATE, end, np.arange(end + 1))
    next_content = np.minimum.accumulate(places[::-1])[::-1]
    first = next_content[np.minimum(offsets[:, 0], end)]
    covered = first < np.maximum(offsets[:, 1], offsets[:, 0] + 1)
    return np.where(covered, codes[first], TEMPLATE).astype(np.int8)
