"""A model behind an API asked for the class: reasons first, then a probability. Every reply is recorded.

Likelihoods of given replies are not to be had from most endpoints, so that the model says its probability in words.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.baselines.data import LabelledRecords, conversation_text, judging_pieces, to_scores
from models_under_pressure.core.concept import Concept, filled
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.llm.ask import Answer, Ask, Asker, Failure, Form, load_prompt

_UNDECIDED = 0.5
"""Probability of a record without an answer."""
_SUREST = 0.995
"""Whole per cents cannot say more than half a per cent from certainty; a logit of 100 % would be infinite."""


class Judgement(Form):
    """The model's reply; the reasoning comes first, so that it reasons before it judges."""

    reasoning: str
    probability: int = Field(ge=0, le=100)


@dataclass(frozen=True, eq=False)
class Asked:
    """A model's answers on one dataset, in the order of its records."""

    data: LabelledRecords
    answers: tuple[Answer[Judgement] | Failure, ...]

    @property
    def unanswered(self) -> dict[str, str]:
        """Id of each record without an answer -> why; it scores as undecided."""
        pairs = zip(self.data.records, self.answers, strict=True)
        return {record.id: answer.kind for record, answer in pairs if isinstance(answer, Failure)}

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of the positive class of each record."""
        return np.array(
            [_UNDECIDED if isinstance(one, Failure) else one.value.probability / 100 for one in self.answers]
        )


def ask_classes(datasets: Sequence[LabelledRecords], concept: Concept, ask: Asker) -> list[Asked]:
    """Ask about every record, all datasets in one round.

    Raises:
        UserError: the concept says nothing of judging, or see `Asker`.
    """
    prompt = judge_prompt(concept)
    answers = iter(ask([question for data in datasets for question in _questions(data, prompt)]))
    return [Asked(data, tuple(next(answers) for _ in data.records)) for data in datasets]


def to_list(asked: Asked, monitor: str, *, seed: int) -> ScoreList:
    """The scores in the form that every method has; nobody knows the tokens and operations behind an API."""
    bounded = asked.probabilities.clip(1 - _SUREST, _SUREST)
    return to_scores(
        asked.data,
        monitor,
        seed=seed,
        logits=np.log(bounded) - np.log1p(-bounded),
        probabilities=asked.probabilities,
        tokens=None,
        flops=None,
    )


def write_asked(path: Path, asked: Asked) -> None:
    """Write one row per record: the probability, the model's reasons, and the model as the server named it."""
    rows: list[dict[str, Any]] = []
    for record, answer in zip(asked.data.records, asked.answers, strict=True):
        if isinstance(answer, Failure):
            rows.append({"id": record.id, "probability": _UNDECIDED, "unanswered": answer.kind})
        else:
            reply = answer.value
            judged = {"probability": reply.probability / 100, "reasoning": reply.reasoning, "model": answer.model}
            rows.append({"id": record.id} | judged)
    write_jsonl(path, rows)


def judge_prompt(concept: Concept) -> str:
    """What the model is told; its definition is broken into lines of at most 120 characters, as the rest is.

    Raises:
        UserError: the concept says nothing of judging.
    """
    pieces = judging_pieces(concept)
    paragraphs = load_prompt("models_under_pressure.baselines", "judge").split("\n\n")
    paragraphs[1] = textwrap.fill(filled(paragraphs[1], **pieces), 120)
    return filled("\n\n".join(paragraphs), **pieces)


def _questions(data: LabelledRecords, prompt: str) -> list[Ask[Judgement]]:
    told = Message("system", prompt)
    return [
        Ask(f"{data.name}/{record.id}", (told, Message("user", conversation_text(record))), Judgement)
        for record in data.records
    ]


class AskConfig(BaseModel):
    """One model behind an API; endpoint, limits and prices are the section `llm`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    """Name of the model, as the endpoint spells it."""


class AskBaselineConfig(BaseModel):
    """Section `ask_baseline` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, AskConfig] = {}
    """Name of each monitor -> its model; its scores are named `asked_<name>`."""
