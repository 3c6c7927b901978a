"""The splits of a dataset version, how they are drawn, and where their files lie."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models_under_pressure.core.concept import Classes
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json, stable_hash, stable_uniform
from models_under_pressure.core.records import Record, read_records, write_records

SPLITS = ("dev", "test")
KINDS = ("raw", "balanced")
EVALS = Path("data/evals")


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

    def each(self, change: Callable[[Sequence[Record]], Sequence[Record]]) -> "Splits":
        """Both splits after the same change."""
        return Splits(change(self.dev), change(self.test))

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


def by_group(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group -> its records, in the order given."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.group].append(record)
    return groups


def _draw(records: Sequence[Record], limit: int | None, seed: int) -> list[Record]:
    groups = by_group(records)
    drawn: list[Record] = []
    for group in sorted(groups, key=lambda group: stable_hash(seed, "draw", group)):
        if limit is not None and len(drawn) + len(groups[group]) > limit:
            continue
        drawn += groups[group]
    return sorted(drawn, key=lambda record: record.id)


def made_versions() -> dict[str, dict[str, Path]]:
    """Version in data/evals -> part, such as `dev_raw` -> file; parsed sources, which have no labels, are left out."""
    found: dict[str, dict[str, Path]] = {}
    for manifest in sorted(EVALS.glob("*/manifest.json")):
        told = read_json(manifest)
        if "parent" in told:
            name = told["dataset"], told["version"]
            splits = [split for split in SPLITS if split_path(*name, split).is_file()]
            found["_".join(name)] = {
                f"{split}_{kind}": split_path(*name, split, kind=kind) for split in splits for kind in KINDS
            }
    return found


def split_path(dataset: str, version: str, split: str, *, kind: str = "raw") -> Path:
    """Path of one split of a version; `kind` is `raw` or `balanced`."""
    name = dataset if split == "dev" else f"{dataset}_test"
    return EVALS / f"{dataset}_{version}" / f"{name}_{kind}_{version}.jsonl"


def manifest_path(dataset: str, version: str) -> Path:
    """Path of a version's manifest."""
    return EVALS / f"{dataset}_{version}" / "manifest.json"


def read_splits(dataset: str, version: str, classes: Classes, *, splits: tuple[str, ...], kind: str = "raw") -> Splits:
    """Read a version's splits; a split not named is empty."""
    return Splits(
        *(
            read_records(split_path(dataset, version, one, kind=kind), classes) if one in splits else ()
            for one in SPLITS
        )
    )


def write_version(raw: Splits, balanced: Splits, dataset: str, version: str, *, splits: tuple[str, ...]) -> None:
    """Write the raw and the balanced file of each split.

    Raises:
        UserError: a file would be empty; nothing is written then.
    """
    files = {
        split_path(dataset, version, split, kind=kind): rows
        for kind, part in zip(KINDS, (raw, balanced), strict=True)
        for split, rows in part.items()
        if split in splits
    }
    if empty := [path for path, rows in files.items() if not rows]:
        remedy = "relax the steps of this version in data/versions.yaml, or its labels' thresholds."
        raise UserError("no rows would be left.", where=str(empty[0]), remedy=remedy)
    for path, rows in files.items():
        write_records(path, rows)
