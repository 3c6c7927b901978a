"""Dividing a source into dev and test, whole groups at a time."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from models_under_pressure.core.files import stable_hash, stable_uniform
from models_under_pressure.core.records import Record

SPLITS = ("dev", "test")


@dataclass(frozen=True, slots=True)
class Splits:
    """The dev and the test records of one dataset version; test-only sets have no dev records."""

    dev: Sequence[Record] = ()
    test: Sequence[Record] = ()

    def items(self) -> tuple[tuple[str, Sequence[Record]], ...]:
        """(name, records) of both splits."""
        return (("dev", self.dev), ("test", self.test))

    @property
    def records(self) -> list[Record]:
        """The rows of both splits."""
        return [*self.dev, *self.test]

    def __len__(self) -> int:
        return len(self.dev) + len(self.test)


def divide(records: Sequence[Record], *, test_fraction: float, limit: int | None, seed: int) -> Splits:
    """Draw up to `limit` records per split; no group straddles the splits.

    Which split a group falls in depends on the seed and the group alone, so more rows never move a row. A source
    that comes divided (column `source_split`) keeps its division.
    """
    if test_fraction >= 1:
        return Splits(test=_draw(records, limit, seed))
    dev: list[Record] = []
    test: list[Record] = []
    for record in records:
        given = record.fields.get("source_split")
        drawn = "test" if stable_uniform(seed, "split", record.group) < test_fraction else "dev"
        (test if (given or drawn) == "test" else dev).append(record)
    return Splits(dev=_draw(dev, limit, seed), test=_draw(test, limit, seed))


def _draw(records: Sequence[Record], limit: int | None, seed: int) -> list[Record]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.group].append(record)
    drawn: list[Record] = []
    for group in sorted(groups, key=lambda group: stable_hash(seed, "draw", group)):
        if limit is not None and len(drawn) + len(groups[group]) > limit:
            continue
        drawn += groups[group]
    return sorted(drawn, key=lambda record: record.id)
