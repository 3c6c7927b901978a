"""Activations joined with the labels of their records."""

from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.activations.store import open_store
from models_under_pressure.errors import UserError
from models_under_pressure.probes.training import TrainingData
from models_under_pressure.records import Label, Record, read_records


def labelled_activations(store: Path, records_path: Path) -> tuple[TrainingData, list[Record]]:
    """Open a store and give every record its label and group, in the order of the store.

    Raises:
        UserError: the store and the file hold different records, or one is ambiguous or not labelled.
    """
    activations: Any = open_store(store)
    records = {record.id: record for record in read_records(records_path)}
    if set(records) != set(activations.ids):
        raise UserError(
            f"the store holds {len(activations.ids)} records and {records_path} {len(records)}, not the same ones.",
            where=str(store),
            remedy="run `dvc repro extract` again.",
        )
    ordered = [records[id_] for id_ in activations.ids]
    unusable = [record.id for record in ordered if record.label not in (Label.HIGH, Label.LOW)]
    if unusable:
        raise UserError(
            f"{len(unusable)} records are ambiguous or not labelled, first {unusable[0]!r}.",
            where=str(records_path),
            remedy="use the balanced file of this dataset.",
        )
    labels = np.array([record.is_high for record in ordered])
    return TrainingData(activations=activations, labels=labels, groups=[record.group for record in ordered]), ordered
