"""Activations joined with the labels of their records."""

from pathlib import Path
from typing import Any

from models_under_pressure.activations.store import open_store
from models_under_pressure.core.records import Record, read_records
from models_under_pressure.probes.data import TrainingData, with_labels


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
