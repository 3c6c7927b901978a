"""What probes are fitted on."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, Int8, Int32

from models_under_pressure.activations.ragged import Activations, ArrayActivations, Subset
from models_under_pressure.activations.store import open_store
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Label, Record, read_records
from models_under_pressure.probes.tokens import token_ids

ORIGIN = ("model", "revision", "layer", "hook_point", "template_hash", "keep")
"""Attributes of activations that must agree for a score to mean anything."""

PROVENANCE = (*ORIGIN, "quantization", "compute_dtype", "tokenizer", "max_tokens", "truncation_side", "dataset")
"""Attributes of the training activations that a probe keeps: what shaped their numbers, wherever they were made."""


def provenance_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that a probe keeps."""
    return {name: attributes[name] for name in PROVENANCE if name in attributes}


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
        raise UserError(
            f"{what} were not made where the probe reads: {'; '.join(differences)}.",
            remedy="extract them with the probe's model, layer and hook point, or train a probe for them.",
        )


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

    def __post_init__(self) -> None:
        records = len(self.activations.ids)
        if self.labels.shape != (records,) or len(self.groups) != records:
            raise ValueError(
                f"{records} records, labels of shape {self.labels.shape}, {len(self.groups)} groups: not aligned"
            )
        if self.labels.dtype != np.bool_:
            raise ValueError(f"labels are {self.labels.dtype}, not bool (an ambiguous record is neither class)")

    @property
    def content_hash(self) -> str:
        """SHA-256 of the records' ids, labels and groups, and of what shaped their activations."""
        origin = provenance_of(self.activations.attributes)
        return stable_hash(list(self.activations.ids), self.labels.tolist(), self.groups, origin)

    def only(self, chosen: Bool[np.ndarray, "records"]) -> "TrainingData":
        """The chosen records; their activations are read from the whole when asked for, not copied."""
        groups = [self.groups[row] for row in np.flatnonzero(chosen)]
        return TrainingData(Subset(self.activations, chosen), self.labels[chosen], groups, self.ambiguous)


def with_labels(activations: Activations, records: Sequence[Record]) -> TrainingData:
    """Give each record of the activations its label and group; ambiguous records are left out, counted and reported.

    Raises:
        UserError: the activations are of other records, or one is not labelled.
    """
    by_id = {record.id: record for record in records}
    if set(by_id) != set(activations.ids):
        strange = sorted(set(by_id) ^ set(activations.ids))
        raise UserError(
            f"the activations are of {len(activations.ids)} records and there are labels for {len(by_id)}, not the "
            f"same ones, first {strange[0]!r}.",
            remedy="extract the activations of this file again (`dvc repro extract`).",
        )
    ordered = [by_id[id_] for id_ in activations.ids]
    unlabelled = [record.id for record in ordered if record.label is None]
    if unlabelled:
        raise UserError(
            f"{len(unlabelled)} records are not labelled, first {unlabelled[0]!r}.", remedy="label them, or drop them."
        )
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
        raise UserError(
            f"the {len(data.labels)} {name} records are all of one class.",
            remedy="give records of both classes, high-stakes and low-stakes.",
        )


def labelled_activations(store: Path, records_path: Path) -> tuple[TrainingData, list[Record]]:
    """Open a store and give every record its label and group, in the order of the store.

    Ambiguous records are left out, of both results.

    Raises:
        UserError: the store and the file hold different records, or one is not labelled.
    """
    records = {record.id: record for record in read_records(records_path)}
    activations: Any = open_store(store)
    data = with_labels(activations, list(records.values()))
    return data, [records[id_] for id_ in data.activations.ids]


class View:
    """`Activations` made of chosen records of others, in the order given; a record may be chosen several times."""

    def __init__(self, parts: Sequence[tuple[Activations, Int[np.ndarray, "rows"]]]) -> None:
        """Choose records.

        Args:
            parts: activations, and the indices of the records to take from them.
        """
        self._sources = [source for source, _ in parts]
        self._source_of = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
        starts = [np.asarray(source.offsets)[:-1][rows] for source, rows in parts]
        ends = [np.asarray(source.offsets)[1:][rows] for source, rows in parts]
        self._starts = np.concatenate(starts).astype(np.int64)
        lengths = np.concatenate(ends) - self._starts
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.ids: Sequence[str] = [source.ids[int(row)] for source, rows in parts for row in rows]

    @property
    def hidden(self) -> int:
        """Width of an activation."""
        return self._sources[0].hidden

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Provenance of the first part."""
        return self._sources[0].attributes

    @property
    def roles(self) -> Int8[np.ndarray, "tokens"]:
        """Role code of each token."""
        return self._gather([np.asarray(source.roles) for source in self._sources])

    @property
    def token_ids(self) -> Int32[np.ndarray, "tokens"]:
        """Token ids.

        Raises:
            UserError: a part comes without them.
        """
        return self._gather([token_ids(source) for source in self._sources])

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the tokens from `start` up to but not including `stop`."""
        pieces = [self._sources[number].read(first, last) for number, first, last in self._pieces(start, stop)]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([np.empty((0, self.hidden), dtype=np.float32), *pieces])

    def _gather(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        total = int(self.offsets[-1])
        return np.concatenate([columns[number][first:last] for number, first, last in self._pieces(0, total)])

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """(source, first token, last token) of the runs that make up a span; neighbours in a source are one run."""
        run: tuple[int, int, int] | None = None
        record = int(np.searchsorted(self.offsets, start, side="right")) - 1
        while start < stop:
            end = min(stop, int(self.offsets[record + 1]))
            shift = int(self._starts[record] - self.offsets[record])
            piece = int(self._source_of[record]), start + shift, end + shift
            if run is not None and run[0] == piece[0] and run[2] == piece[1]:
                run = run[0], run[1], piece[2]
            else:
                if run is not None:
                    yield run
                run = piece
            start, record = end, record + 1
        if run is not None:
            yield run


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
