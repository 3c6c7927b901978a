"""The questions of a synthesis, shown before they are asked (see `llm.rehearsal`)."""

import re
from collections.abc import Sequence

from pydantic import BaseModel

from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.rehearsal import FILLER, Round, describe_cost, describe_round
from models_under_pressure.synthesis.questions import PromptPair, SituationPair
from models_under_pressure.synthesis.rewriting import RewrittenPair

WORDS: dict[type[BaseModel], int] = {SituationPair: 60, PromptPair: 90, RewrittenPair: 90}
"""Usual words of each text in a reply; prompts are asked for with 20, 50, 100 and 200 alike."""


def describe(rounds: Sequence[Round], config: LLMConfig, *, most: int) -> str:
    """The first `most` questions of each round, and the cost of them all, for a person."""
    lines = [line for one in rounds for line in _describe_round(one, most)]
    return "\n".join([*lines, "", describe_cost(rounds, config)]) + "\n"


def _describe_round(one: Round, most: int) -> list[str]:
    if not one.asks:
        return []
    system = one.asks[0].messages[0].content.strip()
    shown = [f"--- {ask.record_id}\n{_short(ask.messages[-1].content)}" for ask in one.asks[:most]]
    return ["", f"=== {describe_round(one)}", f"[system] {system}", *shown]


def _short(text: str) -> str:
    return re.sub(f"(?:{FILLER})+", " …", text)
