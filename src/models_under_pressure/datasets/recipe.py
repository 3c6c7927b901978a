"""Dataset versions as recipes: a parent and ordered steps."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from models_under_pressure.datasets.balance import balance
from models_under_pressure.datasets.splits import Splits
from models_under_pressure.datasets.steps.base import Tools
from models_under_pressure.datasets.steps.kinds import Step
from models_under_pressure.records import Label, Record, content_hash


class Version(BaseModel):
    """One entry of the lineage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    """Name of the source."""
    version: str
    """Name of this version, as in file names (`apr_16`)."""
    parent: str
    """Version of the same dataset it starts from; `source` is the parsed source."""
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class VersionResult:
    """What a recipe made."""

    raw: Splits
    """Every row, ambiguous ones too, in id order."""
    balanced: Splits
    """As many high- as low-stakes rows per split."""
    manifest: Mapping[str, Any]
    """Parent content, rows in and out of each step, ids dropped and why, label counts."""


def run_recipe(version: Version, parent: Splits, *, tools: Tools, seed: int) -> VersionResult:
    """Run the steps in order, then balance each split that has rows."""
    splits = parent
    steps: list[dict[str, Any]] = []
    for step in version.steps:
        outcome = step.run(splits, tools)
        steps.append(
            {
                "step": step.model_dump(mode="json"),
                "rows_in": _sizes(splits),
                "rows_out": _sizes(outcome.splits),
                "dropped": [asdict(row) for row in outcome.dropped],
                "moved": list(outcome.moved),
            }
        )
        splits = outcome.splits
    raw = Splits(dev=_by_id(splits.dev), test=_by_id(splits.test))
    balanced = Splits(dev=balance(raw.dev, seed=seed), test=balance(raw.test, seed=seed))
    manifest = {
        "dataset": version.dataset,
        "version": version.version,
        "parent": version.parent,
        "parent_content": {name: content_hash(records) for name, records in parent.items()},
        "content": {name: content_hash(records) for name, records in raw.items()},
        "steps": steps,
        "labels": {name: label_counts(records) for name, records in raw.items()},
        "balanced": _sizes(balanced),
    }
    return VersionResult(raw, balanced, manifest)


def label_counts(records: Sequence[Record]) -> dict[str, int]:
    """How many rows carry each label."""
    counts = Counter(record.label for record in records)
    return {label.value: counts[label] for label in Label}


def _sizes(splits: Splits) -> dict[str, int]:
    return {name: len(records) for name, records in splits.items()}


def _by_id(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.id)
