"""Datasets as experiments on probes use them: activations, labels, and the records themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from models_under_pressure.activations.ragged import View
from models_under_pressure.core.paths import Dataset
from models_under_pressure.core.records import Record
from models_under_pressure.probes.data import TrainingData, check_same_origin, in_memory, labelled_activations

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
    """The records, in the order of the activations."""

    @property
    def labels(self) -> Bool[np.ndarray, "records"]:
        """True for high-stakes."""
        return self.data.labels

    @property
    def groups(self) -> Sequence[str]:
        """What intervals keep together."""
        return self.data.groups


def read_set(dataset: Dataset, stores: Path | Sequence[Path]) -> LabelledSet:
    """Open one dataset, with one store per layer; its activations are held in memory, where they fit."""
    data, records = labelled_activations(stores, dataset.path)
    data = replace(data, activations=in_memory(data.activations, MEMORY_GIB))
    return LabelledSet(dataset.name, dataset.purpose, data, records)


def take(labelled: LabelledSet, rows: Int[np.ndarray, "rows"]) -> LabelledSet:
    """Some of the records, in the order of `rows`."""
    return replace(labelled, data=labelled.data.only(rows), records=[labelled.records[row] for row in rows])


def join(parts: Sequence[LabelledSet]) -> LabelledSet:
    """All records of several datasets, one after the other, under the first one's name.

    Raises:
        UserError: the activations come from different models, layers or hook points.
    """
    first = parts[0].data.activations
    for part in parts[1:]:
        check_same_origin(first.attributes, part.data.activations.attributes, what=f"the activations of {part.name}")
    view = View([(part.data.activations, np.arange(len(part.records))) for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    data = TrainingData(view, labels, [group for part in parts for group in part.groups])
    return replace(parts[0], data=data, records=[record for part in parts for record in part.records])
