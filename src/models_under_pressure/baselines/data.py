"""Labelled conversations, as every baseline takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64

from models_under_pressure.core.concept import STAKES, Classes, Concept, Judging
from models_under_pressure.core.conversation import in_text_form
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, read_records
from models_under_pressure.evaluation.scores import ScoreList


@dataclass(frozen=True, eq=False)
class LabelledRecords:
    """A dataset of which every record is of one class or the other, in the order of the ids."""

    name: str
    records: tuple[Record, ...]

    @property
    def labels(self) -> Bool[np.ndarray, "records"]:
        """Whether each record is of the positive class."""
        return np.array([record.is_high for record in self.records])

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each record: what intervals resample as a whole, and folds keep together."""
        return tuple(record.group for record in self.records)


def read_labelled(name: str, path: Path, classes: Classes = STAKES) -> LabelledRecords:
    """Read a dataset.

    Raises:
        UserError: it is empty, or a record is ambiguous or not labelled.
    """
    records = read_records(path, classes)
    if not records:
        raise UserError("the file holds no records.", where=str(path), remedy="run `dvc repro relabel` again.")
    if unusable := [record.id for record in records if record.label not in (Label.HIGH, Label.LOW)]:
        problem = f"{len(unusable)} records are ambiguous or not labelled, first {unusable[0]!r}."
        raise UserError(problem, where=str(path), remedy="use the balanced file of this dataset.")
    return LabelledRecords(name, tuple(sorted(records, key=lambda record: record.id)))


def judging_pieces(concept: Concept) -> dict[str, str]:
    """What a concept puts into the prompts that ask a model for the class.

    Raises:
        UserError: it says nothing of judging.
    """
    told: Judging = concept.needed("judging")
    positive, negative = told.replies
    return {
        "asks": concept.asks,
        "positive": concept.classes.positive,
        "negative": concept.classes.negative,
        "if_positive": told.positive,
        "if_negative": told.negative,
        "reasons": told.reasons,
        "positive_reply": positive,
        "negative_reply": negative,
    }


def conversation_text(record: Record) -> str:
    """A conversation as text inside a prompt: roles in capitals, blank lines between turns; a plain string as it is.

    Tool definitions stand in the system turn.
    """
    if isinstance(record.input, str) and not record.tools:
        return record.input
    messages, _ = in_text_form(record.messages, record.tools)
    return "\n\n".join(f"{message.role.upper()}\n{message.content}" for message in messages)


def to_scores(
    data: LabelledRecords,
    monitor: str,
    *,
    seed: int,
    logits: Float[np.ndarray, "records"],
    probabilities: Float[np.ndarray, "records"],
    tokens: Int64[np.ndarray, "records"] | Sequence[int] | None,
    flops: Int64[np.ndarray, "records"] | Sequence[int] | None,
) -> ScoreList:
    """Scores of a baseline, in the form of a probe's.

    Raises:
        ValueError: an array has another length than the dataset.
    """
    return ScoreList(
        dataset=data.name,
        probe=monitor,
        seed=seed,
        ids=tuple(record.id for record in data.records),
        groups=data.groups,
        labels=data.labels,
        logits=logits,
        probabilities=probabilities,
        tokens=None if tokens is None else np.asarray(tokens, dtype=np.int64),
        flops=None if flops is None else np.asarray(flops, dtype=np.int64),
    )
