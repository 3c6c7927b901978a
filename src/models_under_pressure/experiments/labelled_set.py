"""A dataset as experiments use it: activations, labels, and the records themselves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from jaxtyping import Int

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record, to_row
from models_under_pressure.experiments.view import View, in_memory
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.origin import check_same_origin

MEMORY_GIB = 2.0
"""Activations of one dataset that are held in memory; larger ones are read from their store again and again."""


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """One dataset."""

    name: str
    purpose: str
    """train, validation, dev or test."""
    data: TrainingData
    records: Sequence[Record]
    """In the order of the activations."""


def held(labelled: LabelledSet, most_gib: float = MEMORY_GIB) -> LabelledSet:
    """The dataset with its activations in memory, where they fit."""
    activations = in_memory(labelled.data.activations, most_gib)
    return replace(labelled, data=replace(labelled.data, activations=activations))


def take(labelled: LabelledSet, rows: Int[np.ndarray, "rows"]) -> LabelledSet:
    """Some of the records, in the order of `rows`."""
    data = labelled.data
    chosen = TrainingData(View([(data.activations, rows)]), data.labels[rows], [data.groups[row] for row in rows])
    return replace(labelled, data=chosen, records=[labelled.records[row] for row in rows])


def join(parts: Sequence[LabelledSet]) -> LabelledSet:
    """All records of several datasets, one after the other, under the first one's name.

    Raises:
        UserError: the activations come from different models, layers or hook points.
    """
    first = parts[0].data.activations
    for part in parts[1:]:
        check_same_origin(first.attributes, part.data.activations.attributes, what=f"the activations of {part.name}")
    view = View([(part.data.activations, np.arange(len(part.records))) for part in parts])
    labels = np.concatenate([part.data.labels for part in parts])
    data = TrainingData(view, labels, [group for part in parts for group in part.data.groups])
    return replace(parts[0], data=data, records=[record for part in parts for record in part.records])


class Named(Protocol):
    """Conversations under the name of their dataset."""

    @property
    def name(self) -> str:
        """Of the dataset."""
        ...

    @property
    def records(self) -> Sequence[Record]:
        """The conversations."""
        ...


def check_unseen(training: Iterable[Named], test: Named) -> None:
    """Refuse to train on what is tested on.

    Raises:
        UserError: a conversation of `test` is among the training records, whatever its id.
    """
    tested = {_content(record): record.id for record in test.records}
    for part in training:
        for record in part.records:
            if (seen := tested.get(_content(record))) is not None:
                raise UserError(
                    f"record {record.id!r} of {part.name} is the conversation {seen!r} of {test.name}, which is "
                    "tested on.",
                    remedy="run `mup check_overlap`, and leave the conversation out of one of the two.",
                )


def _content(record: Record) -> str:
    return stable_hash(to_row(record)["inputs"])
