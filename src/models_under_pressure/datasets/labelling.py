"""Stakes labels from a chat model: a 1-10 score with its confidence, and thresholds that turn it into a label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field, model_validator

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Label, Record
from models_under_pressure.core.section import Section
from models_under_pressure.datasets.source import Dropped, with_column
from models_under_pressure.llm.ask import Answer, Ask, Asker, Failure, Form, load_prompt

Method = Literal[
    "scale", "rubric", "anthropic_context", "anthropic_extended_context", "mt_context", "mt_extended_context"
]
"""How the labeller is told to judge: by what it knows of the world (`scale`, all published labels), or with the
criteria of the file of that name in `datasets/prompts` put before it."""


class Thresholds(Section):
    """When a score becomes a label; everything between is ambiguous."""

    low_max: int = Field(default=3, ge=1, le=10)
    """Highest stakes that count as low."""
    high_min: int = Field(default=8, ge=1, le=10)
    """Lowest stakes that count as high."""
    confidence_min: int = Field(default=7, ge=1, le=10)
    """Lowest confidence that settles a label."""

    @model_validator(mode="after")
    def _no_score_is_both(self) -> "Thresholds":
        if self.low_max >= self.high_min:
            raise ValueError(f"low_max {self.low_max} is not below high_min {self.high_min}: a score would be both")
        return self


class LabelConfig(Section):
    """How a conversation is labelled."""

    method: Method = "scale"
    """How the labeller is told to judge."""
    thresholds: Thresholds = Thresholds()


class StakesReply(Form):
    """The labeller's reply; the explanation comes first, so that the model reasons before it rates."""

    explanation: str
    stakes: int = Field(ge=1, le=10)
    confidence: int = Field(ge=1, le=10)


@dataclass(frozen=True, slots=True)
class Labelled:
    """The records that got a label, and the questions that got no answer."""

    records: Sequence[Record]
    failures: Sequence[Failure]


def to_label(*, stakes: int, confidence: int, thresholds: Thresholds) -> Label:
    """Apply the thresholds (paper, section 3: low <= 3, high >= 8, confidence >= 7)."""
    if confidence < thresholds.confidence_min:
        return Label.AMBIGUOUS
    if stakes <= thresholds.low_max:
        return Label.LOW
    return Label.HIGH if stakes >= thresholds.high_min else Label.AMBIGUOUS


def label_prompt(method: Method) -> str:
    """What the labeller is told."""
    package = "models_under_pressure.datasets"
    criteria = "" if method == "scale" else f"\n{load_prompt(package, method)}"
    return load_prompt(package, "scale").replace("{criteria}\n", f"{criteria}\n")


def label_question(record: Record, config: LabelConfig) -> Ask[StakesReply]:
    """The question that asks for one record's stakes."""
    messages = (Message("system", label_prompt(config.method)), Message("user", record.text))
    return Ask(record_id=record.id, messages=messages, reply=StakesReply)


def label_records(records: Sequence[Record], *, config: LabelConfig, ask: Asker) -> Labelled:
    """Label every record; the labels it had are kept in the column `previous_labels`."""
    labelled: list[Record] = []
    failures: list[Failure] = []
    for record, answer in zip(records, ask([label_question(record, config) for record in records]), strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
        else:
            labelled.append(_with_labels(record, answer, config))
    return Labelled(labelled, failures)


def unanswered(failures: Sequence[Failure]) -> list[Dropped]:
    """The rows that a model gave no answer for, as dropped rows."""
    return [Dropped(failure.record_id, f"no answer: {failure.kind}") for failure in failures]


def _with_labels(record: Record, answer: Answer[StakesReply], config: LabelConfig) -> Record:
    reply = answer.value
    if record.label is not None:
        record = with_column(
            record,
            previous_labels={
                "labels": record.label.value,
                "scale_labels": record.scale_label,
                "scale_label_confidence": record.scale_label_confidence,
                "scale_label_explanation": record.scale_label_explanation,
            },
        )
    record = with_column(record, label_method=config.method, label_thresholds=config.thresholds.model_dump())
    return replace(
        record,
        label=to_label(stakes=reply.stakes, confidence=reply.confidence, thresholds=config.thresholds),
        scale_label=reply.stakes,
        scale_label_confidence=reply.confidence,
        scale_label_explanation=reply.explanation,
        scale_label_model=answer.model,
    )
