"""Seven fields that describe the situation of a prompt, from a chat model; for analysis, never for training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from models_under_pressure.core.records import Message, Record
from models_under_pressure.llm.ask import Ask, Asker, Failure
from models_under_pressure.llm.prompts import load_prompt
from models_under_pressure.synthesis.questions import PACKAGE


class Metadata(BaseModel):
    """What kind of situation a prompt describes."""

    model_config = ConfigDict(extra="forbid")

    stakes: Literal["high-stakes", "low-stakes", "ambiguous"]
    social: Literal["yes", "no"]
    """Whether what follows matters mainly between people."""
    temporal: Literal["immediate", "far-away"]
    """When what follows comes."""
    causality: Literal["direct", "indirect"]
    """Whether the weightiest consequence follows from the act itself."""
    subject: Literal["model", "user", "other"]
    """Whom the outcome concerns most."""
    reward: Literal["low", "high"]
    """What that one could gain."""
    risk: Literal["low", "high"]
    """What that one could lose."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """All records, those described with a column `metadata`, and the questions without an answer."""

    records: Sequence[Record]
    failures: Sequence[Failure]


def annotate(records: Sequence[Record], *, ask: Asker) -> Annotated:
    """Add the column `metadata` to every record; one without an answer stays as it is."""
    described: list[Record] = []
    failures: list[Failure] = []
    for record, answer in zip(records, ask([annotation_question(record) for record in records]), strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
            described.append(record)
        else:
            described.append(replace(record, fields={**record.fields, "metadata": answer.value.model_dump()}))
    return Annotated(described, failures)


def annotation_question(record: Record) -> Ask[Metadata]:
    """Ask for the fields of one prompt."""
    system = load_prompt(PACKAGE, "annotate")
    return Ask(record_id=record.id, messages=(Message("system", system), Message("user", record.text)), reply=Metadata)
