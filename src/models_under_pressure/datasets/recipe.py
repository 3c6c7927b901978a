"""Dataset versions as recipes: a parent and ordered steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union

from pydantic import Field

from models_under_pressure.core.concept import Classes
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record, classes_of, content_hash
from models_under_pressure.core.section import Section
from models_under_pressure.datasets.distribution import label_counts
from models_under_pressure.datasets.files import Splits
from models_under_pressure.datasets.steps import STEPS, BaseStep, Outcome, Tools

T = TypeVar("T")


class BalanceConfig(Section):
    """Which classes a balanced file holds, and how many rows of each."""

    classes: tuple[str, ...] | None = Field(default=None, min_length=2)
    """Words of the classes to hold in equal numbers, others are left out; null: the positive and the negative one."""
    per_class: int | None = Field(default=None, ge=1)
    """Rows of each class; null takes as many as the smallest class has."""

    def chosen(self, words: Classes) -> tuple[str, ...]:
        """Words of the classes, of those of a concept."""
        return self.classes or (words.positive, words.negative)


def balance(
    records: Sequence[Record], *, seed: int, config: BalanceConfig | None = None, where: str | None = None
) -> list[Record]:
    """Draw the same number of each class; the draw depends on the seed and the records, not on their order.

    Rows of one group are drawn together as far as the classes allow, so that a group is rarely cut.

    Args:
        records: labelled records; those of other classes are left out.
        seed: of the draw.
        config: the classes and their number; high and low, as many as there are, if not given.
        where: what is balanced, for errors.

    Raises:
        UserError: a class has no record, or fewer than `per_class` asks for (never a silent shrink).
    """
    config = config or BalanceConfig()
    words = classes_of(records)
    chosen = config.chosen(words)
    if unknown := [word for word in chosen if word not in words.words]:
        remedy = f"use {', '.join(words.words)} in `balance.classes`."
        raise UserError(f"there is no class {unknown[0]!r}.", where=where, remedy=remedy)
    by_class = {word: [record for record in records if record.label_word == word] for word in chosen}
    sizes = {word: len(members) for word, members in by_class.items()}
    count = min(sizes.values()) if config.per_class is None else config.per_class
    if count == 0 or count > min(sizes.values()):
        asked = "no balanced set can be drawn" if count == 0 else f"{count} rows per class asked for"
        found = ", ".join(f"{word} {size}" for word, size in sizes.items())
        raise UserError(
            f"{asked}, but there are {found} (of {len(records)} rows).",
            where=where,
            remedy="relax the steps of this version in data/versions.yaml, lower `balance.per_class`, or change "
            "the concept's `labelling.thresholds`.",
        )

    def place(record: Record) -> tuple[str, str]:
        return stable_hash(seed, record.group), stable_hash(seed, record.id)

    drawn = [record for members in by_class.values() for record in sorted(members, key=place)[:count]]
    return sorted(drawn, key=lambda record: record.id)


if TYPE_CHECKING:
    Step = BaseStep
else:
    Step = Annotated[Union[STEPS], Field(discriminator="op")]  # noqa: UP007


class Recipe(Section):
    """How a version is made."""

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
    """A dataset version, raw and balanced, with its manifest."""

    raw: Splits
    """Every row, ambiguous ones too, in id order."""
    balanced: Splits
    """Rows of which each split has equally many of each class."""
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
    raw = splits.each(lambda records: sorted(records, key=lambda record: record.id))
    drawn = (
        balance(records, seed=seed, config=version.balance, where=f"{version.key}, {split} split") if before else ()
        for (split, records), (_, before) in zip(raw.items(), parent.items(), strict=True)
    )
    balanced = Splits(*drawn)
    manifest = {
        "dataset": version.dataset,
        "version": version.version,
        "parent": version.parent,
        "parent_content": _of_each(parent, content_hash),
        "content": _of_each(raw, content_hash),
        "steps": steps,
        "labels": _of_each(raw, label_counts),
        "balance": version.balance.model_dump(mode="json")
        | {"classes": list(version.balance.chosen(tools.label.classes))},
        "balanced": (sizes := _of_each(balanced, len)),
        "left_out_by_balancing": {name: size - sizes[name] for name, size in _of_each(raw, len).items()},
    }
    return VersionResult(raw, balanced, manifest)


def _account(before: Splits, outcome: Outcome) -> dict[str, Any]:
    """What a step did; a step that changed some conversations only names those it left as they were."""
    old = {record.id: record.input for record in before.records}
    same = [record.id for record in outcome.splits.records if old[record.id] == record.input]
    changed = len(outcome.splits) - len(same)
    return {
        "rows_in": _of_each(before, len),
        "rows_out": _of_each(outcome.splits, len),
        "dropped": [asdict(row) for row in outcome.dropped],
        "moved": list(outcome.moved),
        "conversations_changed": changed,
        "left_as_they_were": sorted(same) if changed else [],
    }


def _of_each(splits: Splits, figure: Callable[[Sequence[Record]], T]) -> dict[str, T]:
    return {name: figure(records) for name, records in splits.items()}
