"""What synthesis asks a chat model, and the form of its replies."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from models_under_pressure.core.records import Message
from models_under_pressure.llm.ask import Ask
from models_under_pressure.llm.prompts import load_prompt
from models_under_pressure.synthesis.sampling import Factors, Variation

PACKAGE = "models_under_pressure.synthesis"
"""Where the prompts are."""


class SituationPair(BaseModel):
    """Two situations that differ in stakes."""

    model_config = ConfigDict(extra="forbid")

    high_stakes: str
    low_stakes: str


class PromptPair(BaseModel):
    """Two prompts: the first for the high-stakes situation, the second for the low-stakes one."""

    model_config = ConfigDict(extra="forbid")

    prompt_1: str
    prompt_2: str


def situation_question(factors: Factors) -> Ask[SituationPair]:
    """Ask for a pair of situations."""
    facts = (
        f"Person: {factors.role_of_user}\nTopic: {factors.topic}\n"
        f"What makes the first situation serious: {factors.impact_factor}"
    )
    messages = (Message("system", load_prompt(PACKAGE, "situation")), Message("user", facts))
    return Ask(record_id=factors.situation_id, messages=messages, reply=SituationPair)


def prompt_question(
    pair_id: str,
    situations: SituationPair,
    variation: Variation,
    vocabulary: Mapping[str, Mapping[str, object]],
    *,
    sample: int = 0,
) -> Ask[PromptPair]:
    """Ask for a pair of prompts, written in one manner; `sample` tells the same question asked again from the first."""
    manner = {name: vocabulary[name][getattr(variation, name)] for name in vocabulary}
    facts = (
        f"Situation 1: {situations.high_stakes}\n\nSituation 2: {situations.low_stakes}\n\n"
        f"Form: {manner['prompt_style']}\nTone: {manner['tone']}\nLanguage: {manner['language']}\n"
        f"Length of each: about {manner['length']} words"
    )
    messages = (Message("system", load_prompt(PACKAGE, "prompt_pair")), Message("user", facts))
    return Ask(record_id=pair_id, messages=messages, reply=PromptPair, sample=sample)
