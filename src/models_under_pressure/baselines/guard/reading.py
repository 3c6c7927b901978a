"""A conversation as a guard model is asked about it: its own chat template, then the word that its verdict starts with.

Llama Guard (Inan et al. 2023) answers `safe` or `unsafe`; ShieldGemma (Zeng et al. 2024) answers `Yes` or `No` to
whether a conversation violates the policy in its prompt. Both cards read the verdict off the first token's logits.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32
from pydantic import Field, model_validator

from models_under_pressure.activations.config import Dtype
from models_under_pressure.activations.ragged import TEMPLATE
from models_under_pressure.activations.tokens import TokenisationReport, TokenisedRecord, check_refused, tokenise
from models_under_pressure.baselines.data import conversation_text
from models_under_pressure.baselines.prompted.questions import Prompt
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.core.section import Section

Reading = Literal["llama_guard", "shield_gemma"]
WORDS: dict[Reading, tuple[str, str]] = {"llama_guard": ("unsafe", "safe"), "shield_gemma": ("Yes", "No")}
"""Reading -> the words of a verdict, that of a violation first."""
AS_ONE_TURN = "conversations told as one user turn"
"""Name under which these are counted."""
_SLOT = "mupslot0x"
"""Stands for a user's words while the template is tried."""


class GuardConfig(Section):
    """One guard model, and how its verdict is read."""

    name: str = Field(min_length=1)
    """A short name from `models`, a Hugging Face id, or a local path."""
    reading: Reading
    """llama_guard: the template holds the policy, the verdict is `safe` or `unsafe`; shield_gemma: the policy is given,
    the verdict is `Yes` or `No`."""
    policy: str | None = None
    """What a conversation must not be, in the words of the model's card (its `guideline`); of shield_gemma only."""
    prefix: str = ""
    """What the model says before its verdict, such as a blank line."""
    dtype: Dtype = "auto"
    """Precision of the forward pass; likelihoods are float32 always."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Width of the weights (bitsandbytes)."""
    max_tokens: int = Field(default=8192, ge=16)
    """Longest prompt, in tokens; of longer ones the conversation's end is cut and reported."""

    @model_validator(mode="after")
    def _policy_fits(self) -> "GuardConfig":
        if (self.reading == "shield_gemma") != bool(self.policy):
            raise ValueError("`policy` belongs to the reading shield_gemma, which needs it; llama_guard brings its own")
        return self


@dataclass(frozen=True, eq=False)
class _Asking:
    """A tokenizer whose chat template ends in the model's turn, and is told the policy."""

    tokenizer: Any
    policy: str | None
    in_parts: bool
    """Whether contents are lists of parts, as templates of models that also see pictures want them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tokenizer(*args, **kwargs)

    def apply_chat_template(self, messages: Sequence[dict[str, Any]], **settings: Any) -> str:
        if self.in_parts:
            messages = [one | {"content": [{"type": "text", "text": one["content"]}]} for one in messages]
        told = settings | {"add_generation_prompt": True} | ({"guideline": self.policy} if self.policy else {})
        return self.tokenizer.apply_chat_template(messages, **told)


def make_prompts(
    records: Sequence[Record], config: GuardConfig, tokenizer: Any
) -> tuple[list[Prompt], TokenisationReport]:
    """Ask about every record, through the model's own chat template.

    A conversation that the template does not take (system turns, or more turns than it knows) is told as one user turn,
    and counted. Text that spells special tokens is read as plain text, so that no conversation writes its own verdict.

    Raises:
        RefusedError: the template refuses a conversation in either form.
        UserError: there is no chat template, it takes no policy, or leaves no place for a conversation.
    """
    asking = _asking(config, tokenizer)
    asked, report = _tokenise(records, asking, config)
    if report.refused:
        missing = [record for record in records if record.id in report.refused]
        again, other = _tokenise([Record(one.id, conversation_text(one)) for one in missing], asking, config)
        check_refused(other.refused, allowed=0)
        by_id = {one.id: one for one in (*asked, *again)}
        asked = [by_id[record.id] for record in records]
        changes = report.normalised | other.normalised | {AS_ONE_TURN: len(again)}
        neutralised = (*report.neutralised, *other.neutralised)
        report = replace(report, normalised=changes, neutralised=neutralised, refused={})
    begun, high, low = _verdict(config, tokenizer)
    fitted = {one.id: _fit(one, config.max_tokens - len(begun)) for one in asked}
    truncated = tuple(one.id for one in asked if len(fitted[one.id]) < len(one.token_ids))
    prompts = [Prompt(id_, np.concatenate([ids, begun]), high, low) for id_, ids in fitted.items()]
    return prompts, replace(report, truncated=truncated)


def _asking(config: GuardConfig, tokenizer: Any) -> _Asking:
    """The tokenizer with contents in the form that the template takes.

    Raises:
        UserError: there is no chat template, it takes neither form, or it does not say the policy.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise UserError("the model has no chat template to be asked with.", where=config.name, remedy="use a guard.")
    told = ""
    for in_parts in (False, True):
        asking = _Asking(tokenizer, config.policy, in_parts)
        with suppress(Exception):  # a template may raise anything
            told = asking.apply_chat_template([{"role": "user", "content": _SLOT}], tokenize=False)
        if told.count(_SLOT) == 1:
            break
    else:
        problem = "the chat template does not say a user's words once."
        raise UserError(problem, where=config.name, remedy="use a guard model's own tokenizer.")
    if config.policy and config.policy.strip() not in told:
        problem = "the chat template does not say the policy (it has no place for a `guideline`)."
        raise UserError(problem, where=config.name, remedy="use reading: llama_guard, or a ShieldGemma model.")
    return asking


def _tokenise(
    records: Sequence[Record], asking: _Asking, config: GuardConfig
) -> tuple[list[TokenisedRecord], TokenisationReport]:
    return tokenise(records, asking, name=config.name, max_tokens=2**31, truncation_side="right", allow_refused=None)


def _verdict(
    config: GuardConfig, tokenizer: Any
) -> tuple[Int32[np.ndarray, "shared"], Int32[np.ndarray, "1"], Int32[np.ndarray, "1"]]:
    """Tokens that both verdicts begin with, and the first in which they differ, that of a violation first."""
    high, low = (
        np.array(tokenizer(config.prefix + word, add_special_tokens=False).input_ids, dtype=np.int32)
        for word in WORDS[config.reading]
    )
    size = min(len(high), len(low))
    differs = np.flatnonzero(high[:size] != low[:size])
    if not len(differs):
        raise UserError("the two verdicts begin with the same tokens.", where=config.name, remedy="use another model.")
    place = int(differs[0])
    return high[:place], high[place : place + 1], low[place : place + 1]


def _fit(asked: TokenisedRecord, most: int) -> Int32[np.ndarray, "tokens"]:
    """The tokens without the conversation's last ones, where there are too many; all of the template's stay."""
    excess = len(asked.token_ids) - most
    if excess <= 0:
        return asked.token_ids
    content = np.flatnonzero(asked.roles != TEMPLATE)
    if excess >= len(content):
        problem = f"the template leaves no place for the conversation within {most} tokens."
        raise UserError(problem, where=f"record {asked.id!r}", remedy="raise `max_tokens` of the guard.")
    return np.delete(asked.token_ids, content[-excess:])
