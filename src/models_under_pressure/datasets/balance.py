"""Equal numbers of records of each class."""

from collections import defaultdict
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Label, Record


class BalanceConfig(BaseModel):
    """Which classes a balanced file holds, and how many rows of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[Label, ...] = Field(default=(Label.HIGH, Label.LOW), min_length=2)
    """Classes to hold in equal numbers; rows of others are left out."""
    per_class: int | None = Field(default=None, ge=1)
    """Rows of each class; null takes as many as the smallest class has."""


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
    by_class: dict[Label, list[Record]] = defaultdict(list)
    for record in records:
        if record.label is not None:
            by_class[record.label].append(record)
    sizes = {label: len(by_class[label]) for label in config.classes}
    count = min(sizes.values()) if config.per_class is None else config.per_class
    if count == 0 or count > min(sizes.values()):
        asked = "no balanced set can be drawn" if count == 0 else f"{count} rows per class asked for"
        found = ", ".join(f"{label.value} {size}" for label, size in sizes.items())
        raise UserError(
            f"{asked}, but there are {found} (of {len(records)} rows).",
            where=where,
            remedy="relax the steps of this version in data/versions.yaml, lower `balance.per_class`, or change "
            "`relabel.thresholds` in params.yaml.",
        )
    drawn = [
        record
        for label in config.classes
        for record in sorted(by_class[label], key=lambda r: (stable_hash(seed, r.group), stable_hash(seed, r.id)))[
            :count
        ]
    ]
    return sorted(drawn, key=lambda record: record.id)
