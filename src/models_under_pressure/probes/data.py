"""Labelled activations: the data that probes are fitted on, and the origin that must agree."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int

from models_under_pressure.activations.layers import open_layers
from models_under_pressure.activations.ragged import Activations, ArrayActivations, View
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Label, Record, read_records

ORIGIN = ("model", "revision", "layer", "layers", "hook_point", "template_hash", "keep")
"""Attributes of activations that must agree for a score to mean anything."""

PROVENANCE = (*ORIGIN, "quantization", "compute_dtype", "tokenizer", "max_tokens", "truncation_side", "dataset")
"""Attributes of the training activations that a probe keeps: what shaped their numbers, wherever they were made."""


def check_same_origin(expected: Mapping[str, Any], found: Mapping[str, Any], *, what: str) -> None:
    """Refuse activations of another model, revision, layer, hook point, chat template or pooling.

    Raises:
        UserError: listing every attribute that differs.
    """
    differences = [
        f"{name} is {found.get(name)!r}, not {expected.get(name)!r}"
        for name in ORIGIN
        if found.get(name) != expected.get(name)
    ]
    if differences:
        problem = f"{what} were not made where the probe reads: {'; '.join(differences)}."
        remedy = "extract them with the probe's model, layer and hook point, or train a probe for them."
        raise UserError(problem, remedy=remedy)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Activations, and for each record its label and group, in the order of the records."""

    activations: Activations
    labels: Bool[np.ndarray, "records"]
    """True for high-stakes."""
    groups: list[str]
    """Records of one group (a pair of prompts, say) stay together in cross-validation."""
    ambiguous: int = 0
    """Records left out because they are neither high-stakes nor low-stakes."""
    weights: Float64[np.ndarray, "records"] | None = None
    """How much each record counts in training; the mean is 1. None: all alike."""

    def __post_init__(self) -> None:
        records = len(self.activations.ids)
        if self.labels.shape != (records,) or len(self.groups) != records:
            found = f"labels of shape {self.labels.shape}, {len(self.groups)} groups"
            raise ValueError(f"{records} records, {found}: not aligned")
        if self.labels.dtype != np.bool_:
            raise ValueError(f"labels are {self.labels.dtype}, not bool (an ambiguous record is neither class)")

    @property
    def content_hash(self) -> str:
        """SHA-256 of the records' ids, labels and groups, and of what shaped their activations."""
        return stable_hash(list(self.activations.ids), self.labels.tolist(), self.groups, self.provenance)

    @property
    def provenance(self) -> dict[str, Any]:
        """The attributes of the activations that a probe keeps."""
        attributes = self.activations.attributes
        return {name: attributes[name] for name in PROVENANCE if name in attributes}

    def only(self, chosen: Bool[np.ndarray, "records"] | Int[np.ndarray, "rows"]) -> "TrainingData":
        """Some records, by yes or no for each or by their indices; activations are read when asked for, not copied."""
        rows = np.arange(len(self.groups))[chosen]
        groups = [self.groups[int(row)] for row in rows]
        weights = None if self.weights is None else self.weights[rows]
        return TrainingData(View([(self.activations, rows)]), self.labels[rows], groups, self.ambiguous, weights)


def with_labels(activations: Activations, records: Sequence[Record]) -> TrainingData:
    """Give each record of the activations its label and group; ambiguous records are left out, counted and reported.

    Records that the extraction skipped have no activations, and none of their labels is used.

    Raises:
        UserError: the activations are of other records, or one is not labelled.
    """
    refused = set(activations.attributes.get("refused", ()))  # by the chat template; the extraction named them
    by_id = {record.id: record for record in records if record.id not in refused}
    if set(by_id) != set(activations.ids):
        strange = sorted(set(by_id) ^ set(activations.ids))
        problem = f"the activations are of {len(activations.ids)} records and there are labels for {len(by_id)}"
        remedy = "extract the activations of this file again (`dvc repro extract`)."
        raise UserError(f"{problem}, not the same ones, first {strange[0]!r}.", remedy=remedy)
    ordered = [by_id[id_] for id_ in activations.ids]
    if unlabelled := [record.id for record in ordered if record.label is None]:
        problem = f"{len(unlabelled)} records are not labelled, first {unlabelled[0]!r}."
        raise UserError(problem, remedy="label them, or drop them.")
    clear = np.array([record.label is not Label.AMBIGUOUS for record in ordered], dtype=bool)
    labels = np.array([record.label is Label.HIGH for record in ordered], dtype=bool)
    data = TrainingData(activations, labels, [record.group for record in ordered], int((~clear).sum()))
    if clear.all():
        return data
    logging.getLogger(__name__).warning("%d of %d records are ambiguous: left out", data.ambiguous, len(clear))
    return data.only(clear)


def check_classes(data: TrainingData, name: str) -> None:
    """Refuse data of one class.

    Raises:
        UserError: every label is the same.
    """
    if data.labels.all() or not data.labels.any():
        remedy = "give records of both classes, high-stakes and low-stakes."
        raise UserError(f"the {len(data.labels)} {name} records are all of one class.", remedy=remedy)


def labelled_activations(stores: Path | Sequence[Path], records_path: Path) -> tuple[TrainingData, list[Record]]:
    """Open a store, or one of each of several layers, and give every record its label and group, in their order.

    Ambiguous records are left out, of both results.

    Raises:
        UserError: the store and the file hold different records, or one is not labelled.
    """
    records = read_records(records_path)
    by_id = {record.id: record for record in records}
    data = with_labels(open_layers(stores), records)
    return data, [by_id[id_] for id_ in data.activations.ids]


def in_memory(activations: Activations, most_gib: float) -> Activations:
    """The activations read once into memory, or as they are when they are larger than `most_gib` as float32."""
    tokens = int(activations.offsets[-1])
    if 4 * tokens * activations.hidden > most_gib * 2**30:
        return activations
    return ArrayActivations(
        values=activations.read(0, tokens),
        offsets=np.asarray(activations.offsets),
        ids=activations.ids,
        roles=np.asarray(activations.roles),
        attributes=activations.attributes,
        token_ids=getattr(activations, "token_ids", None),
    )
