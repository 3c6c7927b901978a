"""Datasets as experiments on probes use them: activations, labels, records, and samples of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Int, Int64

from models_under_pressure.activations.ragged import View
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.paths import Dataset
from models_under_pressure.core.records import Record, to_row
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


def read_set(dataset: Dataset, store: Path) -> LabelledSet:
    """Open one dataset; its activations are held in memory, where they fit.

    Raises:
        UserError: see `labelled_activations`.
    """
    data, records = labelled_activations(store, dataset.path)
    return held(LabelledSet(dataset.name, dataset.purpose, data, records))


def held(labelled: LabelledSet, most_gib: float = MEMORY_GIB) -> LabelledSet:
    """The dataset with its activations in memory, where they fit."""
    activations = in_memory(labelled.data.activations, most_gib)
    return replace(labelled, data=replace(labelled.data, activations=activations))


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


class Labelled(Protocol):
    """A dataset with the labels and groups of its records."""

    @property
    def name(self) -> str:
        """Name of the dataset."""
        ...

    @property
    def records(self) -> Sequence[Record]:
        """The conversations."""
        ...

    @property
    def labels(self) -> Bool[np.ndarray, "records"]:
        """True for high-stakes."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """What intervals keep together."""
        ...


def check_unseen(training: Iterable[Labelled], test: Labelled) -> None:
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


def nested_samples(
    labels: Bool[np.ndarray, "records"], sizes: Sequence[int], generator: np.random.Generator
) -> dict[int, Int64[np.ndarray, "rows"]]:
    """Size -> rows, half of them high-stakes; a smaller sample is part of every larger one.

    Sizes beyond `largest_sample` are left out, since they cannot be balanced.

    Raises:
        UserError: a size is odd or not positive, or none is small enough.
    """
    wrong = [size for size in sizes if size < 2 or size % 2]
    if wrong:
        raise UserError(f"{wrong[0]} records cannot be half high-stakes.", remedy="give even sizes of at least 2.")
    most = largest_sample(labels)
    possible = [size for size in sorted(set(sizes)) if size <= most]
    if not possible:
        raise UserError(
            f"{len(labels)} records give a balanced sample of at most {most}.", remedy="ask for smaller samples."
        )
    order = [generator.permutation(np.flatnonzero(labels == value)) for value in (True, False)]
    return {size: np.sort(np.concatenate([rows[: size // 2] for rows in order])) for size in possible}


def largest_sample(labels: Bool[np.ndarray, "records"]) -> int:
    """Records of the largest balanced sample."""
    return 2 * min(int(labels.sum()), int((~labels).sum()))


def generator_of(seed: int, repeat: int, name: str) -> np.random.Generator:
    """The generator of one repeat on one dataset, which no other repeat, size or dataset can shift."""
    return np.random.default_rng([seed, repeat, int(stable_hash(name)[:8], 16)])
