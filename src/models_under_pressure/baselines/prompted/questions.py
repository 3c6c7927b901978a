"""Prompts as token ids: what both replies share, and the two ends from the first token in which they differ."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Int32

from models_under_pressure.activations.ragged import ASSISTANT
from models_under_pressure.activations.tokens import TokenisationReport, TokenisedRecord, tokenise
from models_under_pressure.baselines.data import conversation_text, judging_pieces
from models_under_pressure.core.concept import Concept, filled
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record

_PLACE = "{conversation}"


@dataclass(frozen=True, slots=True)
class Template:
    """One wording."""

    name: str
    user: str
    """The user's message; `{conversation}` stands for the conversation."""
    high: str
    """The reply of a model that finds the conversation to be of the positive class."""
    low: str
    system: str | None = None

    def __post_init__(self) -> None:
        if self.user.count(_PLACE) != 1 or self.high == self.low:
            raise ValueError(f"template {self.name}: `user` must hold {_PLACE} once, and the replies must differ")


def load_template(name: str, concept: Concept) -> Template:
    """Read a wording from `baselines/templates`, and fill it from the concept.

    Raises:
        UserError: the concept says nothing of judging.
    """
    text = files("models_under_pressure.baselines").joinpath("templates", f"{name}.toml").read_text("utf-8")
    pieces = judging_pieces(concept)
    return Template(name, **{key: filled(value.strip(), **pieces) for key, value in tomllib.loads(text).items()})


def question(template: Template, conversation: str) -> tuple[Message, ...]:
    """The messages that ask for the class of a conversation."""
    user = Message("user", template.user.replace(_PLACE, conversation))
    return (user,) if template.system is None else (Message("system", template.system), user)


_SLACK = 8
"""Tokens cut beyond the excess: the text around a cut may be divided otherwise afterwards."""


@dataclass(frozen=True, eq=False, slots=True)
class Prompt:
    """One question and its two possible replies."""

    id: str
    shared: Int32[np.ndarray, "tokens"]
    """The chat-templated question and what the replies have in common."""
    high: Int32[np.ndarray, "high_tokens"]
    """The rest of the positive reply, with the token that ends the turn."""
    low: Int32[np.ndarray, "low_tokens"]

    @property
    def tokens(self) -> int:
        """Tokens that go through the model: the last of a reply is predicted, never read."""
        return len(self.shared) + len(self.high) - 1 + len(self.low) - 1


def make_prompts(
    records: Sequence[Record], template: Template, tokenizer: Any, *, name: str, max_tokens: int
) -> tuple[list[Prompt], TokenisationReport]:
    """Ask the template's question of every record; a conversation that is too long loses its end.

    Raises:
        UserError: the chat template refuses the question, or the instructions alone are too long.
    """
    texts = {record.id: conversation_text(record) for record in records}
    prompts, report = _tokenise(records, texts, template, tokenizer, name)
    truncated: list[str] = []
    too_long = [prompt for prompt in prompts if _length(prompt) > max_tokens]
    while too_long:
        for prompt in too_long:
            excess = _length(prompt) - max_tokens + _SLACK
            texts[prompt.id] = _cut(texts[prompt.id], excess, prompt.id, tokenizer, max_tokens)
        truncated += [prompt.id for prompt in too_long if prompt.id not in truncated]
        chosen = {prompt.id for prompt in too_long}
        again, _ = _tokenise([one for one in records if one.id in chosen], texts, template, tokenizer, name)
        shorter = {prompt.id: prompt for prompt in again}
        prompts = [shorter.get(prompt.id, prompt) for prompt in prompts]
        too_long = [prompt for prompt in again if _length(prompt) > max_tokens]
    return prompts, replace(report, truncated=tuple(truncated))


def _length(prompt: Prompt) -> int:
    return len(prompt.shared) + max(len(prompt.high), len(prompt.low))


def _tokenise(
    records: Sequence[Record], texts: dict[str, str], template: Template, tokenizer: Any, name: str
) -> tuple[list[Prompt], TokenisationReport]:
    def replied(reply: str) -> tuple[list[TokenisedRecord], TokenisationReport]:
        chats = [
            Record(record.id, (*question(template, texts[record.id]), Message("assistant", reply)))
            for record in records
        ]
        return tokenise(chats, tokenizer, name=name, max_tokens=2**31, truncation_side="right")

    high, report = replied(template.high)
    low, _ = replied(template.low)
    return [_prompt(*pair) for pair in zip(high, low, strict=True)], report


def _prompt(high: TokenisedRecord, low: TokenisedRecord) -> Prompt:
    """Divide two token sequences where they differ first; what a template adds after the turn's end is left out."""
    first, second = (one.token_ids[: _end_of_turn(one)] for one in (high, low))
    size = min(len(first), len(second))
    differs = np.flatnonzero(first[:size] != second[:size])
    start = int(differs[0]) if len(differs) else size - 1
    return Prompt(high.id, first[:start], first[start:], second[start:])


def _end_of_turn(tokenised: TokenisedRecord) -> int:
    """The place after the token that follows the reply."""
    return int(np.flatnonzero(tokenised.roles == ASSISTANT)[-1]) + 2


def _cut(text: str, excess: int, record: str, tokenizer: Any, max_tokens: int) -> str:
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    kept = len(offsets) - excess
    if kept < 1:
        problem = f"the instructions leave no place for the conversation within {max_tokens} tokens."
        raise UserError(problem, where=f"record {record!r}", remedy="raise `prompt_baseline.max_tokens`.")
    return text[: offsets[kept - 1][1]]
