"""What the stages of experiments read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models_under_pressure.experiments.labelled_set import LabelledSet, held
from models_under_pressure.stages.labelled import labelled_activations


@dataclass(frozen=True)
class Input:
    """Where a dataset lies, and what it is for."""

    store: Path
    """Its activations."""
    records: Path
    purpose: str


def read_sets(inputs: Mapping[str, Input]) -> dict[str, LabelledSet]:
    """Open datasets by name; those that fit are held in memory.

    Raises:
        UserError: see `labelled_activations`.
    """
    return {name: read_set(name, one) for name, one in inputs.items()}


def read_set(name: str, one: Input) -> LabelledSet:
    """Open one dataset.

    Raises:
        UserError: see `labelled_activations`.
    """
    data, records = labelled_activations(one.store, one.records)
    return held(LabelledSet(name, one.purpose, data, records))
