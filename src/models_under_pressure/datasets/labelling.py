"""Labels from a chat model: a 1-10 rating with its confidence, and thresholds that turn it into a label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import Field, create_model

from models_under_pressure.core.concept import Classes, Concept, Label, Labelling, Thresholds, filled
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.core.section import Section
from models_under_pressure.datasets.source import Dropped, with_column
from models_under_pressure.llm.ask import Answer, Ask, Asker, Failure, Form, form_name, load_prompt

SCALE = "scale"
"""The method that judges by what the labeller knows of the world, as all published labels were made."""


class LabelConfig(Section):
    """How a conversation is labelled."""

    method: str = SCALE
    """How the labeller is told to judge: `scale`, or a name of the concept's criteria, which are put before it."""


@dataclass(frozen=True, slots=True)
class Labeller:
    """What a labeller is asked, and what its ratings mean."""

    classes: Classes
    asks: str
    labelling: Labelling
    method: str = SCALE

    def by(self, method: str | None) -> "Labeller":
        """The same labeller, told to judge in another way; None changes nothing.

        Raises:
            UserError: the concept has no such criteria.
        """
        if method is None or method == self.method:
            return self
        if method not in (known := (SCALE, *self.labelling.criteria)):
            remedy = f"use one of {', '.join(known)}, or write its criteria into the concept's file."
            raise UserError(f"there is no method {method!r}.", where="relabel.method", remedy=remedy)
        return replace(self, method=method)


def labeller(concept: Concept, config: LabelConfig) -> Labeller:
    """The labeller of a concept.

    Raises:
        UserError: the concept says nothing of labelling, or has no such criteria.
    """
    return Labeller(concept.classes, concept.asks, concept.needed("labelling")).by(config.method)


_REPLY = "The labeller's reply; the explanation comes first, so that the model reasons before it rates."
"""Part of every request, and so of its key."""


@lru_cache
def rating_form(scale: str) -> type[Form]:
    """The form of the labeller's reply, with a field of the scale's name."""
    rating: Any = (int, Field(ge=1, le=10))
    fields: dict[str, Any] = {"explanation": (str, ...), scale: rating, "confidence": rating}
    return create_model(f"{form_name(scale)}Reply", __base__=Form, __doc__=_REPLY, **fields)


@dataclass(frozen=True, slots=True)
class Labelled:
    """The records that got a label, and the questions that got no answer."""

    records: Sequence[Record]
    failures: Sequence[Failure]


def to_label(*, rating: int, confidence: int, thresholds: Thresholds) -> Label:
    """Apply the thresholds (paper, section 3: low <= 3, high >= 8, confidence >= 7)."""
    if confidence < thresholds.confidence_min:
        return Label.AMBIGUOUS
    if rating <= thresholds.low_max:
        return Label.LOW
    return Label.HIGH if rating >= thresholds.high_min else Label.AMBIGUOUS


def label_prompt(how: Labeller) -> str:
    """What the labeller is told."""
    said, criteria = how.labelling, how.labelling.criteria.get(how.method, "")
    return filled(
        load_prompt("models_under_pressure.datasets", SCALE),
        asks=how.asks,
        definition=said.definition,
        criteria=f"\n{criteria}" if criteria else "",
        scale=said.scale.name,
        lowest=said.scale.lowest,
        highest=said.scale.highest,
    )


def label_question(record: Record, how: Labeller) -> Ask[Form]:
    """The question that asks for one record's rating."""
    messages = (Message("system", label_prompt(how)), Message("user", record.text))
    return Ask(record_id=record.id, messages=messages, reply=rating_form(how.labelling.scale.name))


def label_records(records: Sequence[Record], *, how: Labeller, ask: Asker) -> Labelled:
    """Label every record; the labels it had are kept in the column `previous_labels`."""
    labelled: list[Record] = []
    failures: list[Failure] = []
    for record, answer in zip(records, ask([label_question(record, how) for record in records]), strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
        else:
            labelled.append(_with_labels(record, answer, how))
    return Labelled(labelled, failures)


def unanswered(failures: Sequence[Failure]) -> list[Dropped]:
    """The rows that a model gave no answer for, as dropped rows."""
    return [Dropped(failure.record_id, f"no answer: {failure.kind}") for failure in failures]


def _with_labels(record: Record, answer: Answer[Form], how: Labeller) -> Record:
    reply: Any = answer.value
    rating: int = getattr(reply, how.labelling.scale.name)
    thresholds = how.labelling.thresholds
    if record.label is not None:
        record = with_column(
            record,
            previous_labels={
                "labels": record.label_word,
                "scale_labels": record.scale_label,
                "scale_label_confidence": record.scale_label_confidence,
                "scale_label_explanation": record.scale_label_explanation,
            },
        )
    record = with_column(record, label_method=how.method, label_thresholds=thresholds.model_dump())
    return replace(
        record,
        label=to_label(rating=rating, confidence=reply.confidence, thresholds=thresholds),
        classes=how.classes,
        scale_label=rating,
        scale_label_confidence=reply.confidence,
        scale_label_explanation=reply.explanation,
        scale_label_model=answer.model,
    )
