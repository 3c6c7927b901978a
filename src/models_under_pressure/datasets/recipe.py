"""Dataset versions as recipes: a parent and ordered steps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from models_under_pressure.core.records import Record, content_hash
from models_under_pressure.datasets.balance import BalanceConfig, balance
from models_under_pressure.datasets.counts import label_counts
from models_under_pressure.datasets.splits import Splits
from models_under_pressure.datasets.steps.base import Outcome, Tools
from models_under_pressure.datasets.steps.kinds import Step


class Recipe(BaseModel):
    """How a version is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parent: str
    """Version of the same dataset that it starts from; `source` is the parsed source."""
    steps: tuple[Step, ...]
    balance: BalanceConfig = BalanceConfig()
    """Classes that its balanced files hold."""


class Version(Recipe):
    """A recipe under its name."""

    dataset: str
    """Name of the source."""
    version: str
    """Name of this version, as in file names (`apr_16`)."""

    @property
    def key(self) -> str:
        """Name of its entry in data/versions.yaml and of its folder."""
        return f"{self.dataset}_{self.version}"


@dataclass(frozen=True, slots=True)
class VersionResult:
    """What a recipe made."""

    raw: Splits
    """Every row, ambiguous ones too, in id order."""
    balanced: Splits
    """As many rows of each class per split."""
    manifest: Mapping[str, Any]
    """Parent content, rows in and out of each step, ids dropped and why, label counts."""


def run_recipe(version: Version, parent: Splits, *, tools: Tools, seed: int) -> VersionResult:
    """Run the steps in order, then balance each split that the parent has.

    Raises:
        UserError: a step cannot be done, or a split cannot be balanced.
    """
    splits = parent
    steps: list[dict[str, Any]] = []
    for step in version.steps:
        outcome = step.run(splits, tools)
        steps.append({"step": step.model_dump(mode="json"), **_account(splits, outcome)})
        splits = outcome.splits
    raw = Splits(dev=_by_id(splits.dev), test=_by_id(splits.test))
    present = {name for name, records in parent.items() if records}
    drawn = {
        split: balance(records, seed=seed, config=version.balance, where=f"{version.key}, {split} split")
        for split, records in raw.items()
        if split in present
    }
    balanced = Splits(dev=drawn.get("dev", ()), test=drawn.get("test", ()))
    manifest = {
        "dataset": version.dataset,
        "version": version.version,
        "parent": version.parent,
        "parent_content": _contents(parent),
        "content": _contents(raw),
        "steps": steps,
        "labels": {name: label_counts(records) for name, records in raw.items()},
        "balance": version.balance.model_dump(mode="json"),
        "balanced": _sizes(balanced),
        "left_out_by_balancing": {
            name: len(records) - len(kept)
            for (name, records), (_, kept) in zip(raw.items(), balanced.items(), strict=True)
        },
    }
    return VersionResult(raw, balanced, manifest)


def _account(before: Splits, outcome: Outcome) -> dict[str, Any]:
    """What a step did; a step that changed some conversations only names those it left as they were."""
    old = {record.id: record.input for _, records in before.items() for record in records}
    same = [record.id for _, records in outcome.splits.items() for record in records if old[record.id] == record.input]
    changed = len(outcome.splits) - len(same)
    return {
        "rows_in": _sizes(before),
        "rows_out": _sizes(outcome.splits),
        "dropped": [asdict(row) for row in outcome.dropped],
        "moved": list(outcome.moved),
        "conversations_changed": changed,
        "left_as_they_were": sorted(same) if changed else [],
    }


def _contents(splits: Splits) -> dict[str, str]:
    return {name: content_hash(records) for name, records in splits.items()}


def _sizes(splits: Splits) -> dict[str, int]:
    return {name: len(records) for name, records in splits.items()}


def _by_id(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.id)
