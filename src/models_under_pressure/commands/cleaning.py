"""`mup check_overlap --clean`: declare versions without the overlapping rows; no file is changed in place."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    from models_under_pressure.datasets.overlap import Overlap
    from models_under_pressure.params.check_overlap import CheckOverlapParams
    from models_under_pressure.params.lineage import Lineage
    from models_under_pressure.stages.check_overlap import InUse

_SUFFIX = "clean"
_LOSES = ("test", "dev")
"""Purposes of the datasets that may lose rows, in this order; training sets are made anew instead."""


@dataclass
class Cleaned:
    """A version to be declared."""

    parent: str
    """Key of the version that overlaps."""
    within: int = 0
    """Pairs between its own splits."""
    rows: dict[str, str] = field(default_factory=dict)
    """Ids that overlap with other datasets in use -> the reason."""


def clean_overlaps(
    versions: Mapping[str, Mapping[str, Path]],
    in_use: "Mapping[str, InUse]",
    lineage: "Lineage",
    config: "CheckOverlapParams",
) -> None:
    """Add a version `<version>_clean` for each one that overlaps more than allowed; point the datasets in use at it.

    A version that only others are made from is not cleaned itself. Versions that overlap stay as they are, and the
    number of their pairs is accepted by name.

    Raises:
        UserError: two sets overlap of which none is a version, or a cleaned version exists already.
    """
    from models_under_pressure.datasets.overlap import overlaps_between
    from models_under_pressure.stages.check_overlap import IN_USE, read_parts

    found = {name: overlaps_between(parts, config) for name, parts in read_parts(versions, in_use).items()}
    plans = _plan(_excess(found, config), lineage, accepted=config.allowed.get(IN_USE, 0))
    for plan in plans:
        key = f"{plan.parent}_{_SUFFIX}"
        if key in lineage.versions | lineage.test_versions:
            raise UserError(
                f"{key} exists already, and there is overlap nevertheless.",
                where="data/versions.yaml",
                remedy="run `dvc repro`; if the overlap is still there, review the steps of that version.",
            )
    accepted = {name: len(pairs) for name, pairs in _excess(found, config).items() if name != IN_USE}
    if not (plans or accepted):
        print("nothing to clean: no overlap beyond what params.yaml allows")
        return
    _declare(plans, lineage, config)
    _accept(accepted)
    for plan in plans:
        print(
            f"{plan.parent}_{_SUFFIX} added to data/versions.yaml: {plan.within} pairs between its splits, "
            f"{len(plan.rows)} rows that other datasets in use have"
        )
    for name, count in accepted.items():
        print(f"{name} stays as it is: its {count} pairs are accepted in params.yaml, check_overlap.allowed")
    print("run `dvc repro` to make the new versions")


def _excess(found: "Mapping[str, Sequence[Overlap]]", config: "CheckOverlapParams") -> "dict[str, Sequence[Overlap]]":
    return {name: pairs for name, pairs in found.items() if len(pairs) > config.allowed.get(name, 0)}


def _plan(excess: "Mapping[str, Sequence[Overlap]]", lineage: "Lineage", *, accepted: int) -> list[Cleaned]:
    from models_under_pressure.stages.check_overlap import IN_USE

    versions = _versions_in_use(lineage)
    every = lineage.versions | lineage.test_versions
    inner = {f"{version.dataset}_{version.parent}" for version in every.values()} - set(versions.values())
    plans = {
        name: Cleaned(name, within=len(pairs)) for name, pairs in excess.items() if name != IN_USE and name not in inner
    }
    stuck: list[Overlap] = []
    for pair in excess.get(IN_USE, ()):
        sides = {pair.left_split: (pair.left_id, pair.right_split), pair.right_split: (pair.right_id, pair.left_split)}
        names = sorted(sides, key=lambda name: (_rank(lineage, name), name))
        if versions.get(names[0]) is not None and versions.get(names[0]) == versions.get(names[1]):
            continue
        loser = next((name for name in names if versions.get(name)), None)
        if loser is None:
            stuck.append(pair)
            continue
        id_, other = sides[loser]
        plan = plans.setdefault(versions[loser], Cleaned(versions[loser]))
        plan.rows.setdefault(id_, f"overlaps ({pair.kind}) with {other} {sides[other][0]}")
    if len(stuck) > accepted:
        pair = stuck[0]
        raise UserError(
            f"{len(stuck)} pairs are of sets that are no version of data/versions.yaml ({accepted} accepted), first "
            f"{pair.kind}: {pair.left_split} {pair.left_id} ~ {pair.right_split} {pair.right_id}.",
            where="check_overlap --clean",
            remedy="make one of the sets anew, or accept the pairs in params.yaml: check_overlap.allowed.in_use.",
        )
    return list(plans.values())


def _versions_in_use(lineage: "Lineage") -> dict[str, str]:
    """Dataset in use -> the version it is a file of, for those that are."""
    from models_under_pressure.params.dataset_files import dataset_files

    of_path = {path: key for key, parts in dataset_files(lineage).items() for path in parts.values()}
    known = lineage.versions | lineage.test_versions
    return {
        name: key for name, dataset in lineage.datasets.items() if (key := of_path.get(Path(dataset.path))) in known
    }


def _rank(lineage: "Lineage", name: str) -> int:
    purpose = lineage.datasets[name].purpose
    return _LOSES.index(purpose) if purpose in _LOSES else len(_LOSES)


def _declare(plans: Sequence[Cleaned], lineage: "Lineage", config: "CheckOverlapParams") -> None:
    from dvc.utils.serialize import modify_yaml

    every = lineage.versions | lineage.test_versions
    in_use = _versions_in_use(lineage)
    with modify_yaml("data/versions.yaml") as content:
        for plan in plans:
            parent = every[plan.parent]
            version = f"{parent.version}_{_SUFFIX}"
            group = "versions" if plan.parent in lineage.versions else "test_versions"
            entry: dict[str, Any] = {"dataset": parent.dataset, "version": version, "parent": parent.version}
            entry["steps"] = _steps(plan, config)
            if parent.balance.model_fields_set:
                entry["balance"] = parent.balance.model_dump(mode="json", exclude_unset=True)
            content[group][f"{parent.dataset}_{version}"] = entry
            for name, dataset in content["datasets"].items():
                if in_use.get(name) == plan.parent:
                    ending = f"_{parent.version}.jsonl"
                    dataset["path"] = dataset["path"].removesuffix(ending) + f"_{version}.jsonl"


def _accept(within: Mapping[str, int]) -> None:
    from dvc.utils.serialize import modify_yaml

    if within:
        with modify_yaml("params.yaml") as content:
            content["check_overlap"]["allowed"].update(within)


def _steps(plan: Cleaned, config: "CheckOverlapParams") -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if plan.within:
        steps.append({"op": "drop_overlaps", "split": "test", **config.model_dump(exclude={"allowed"})})
    by_reason: dict[str, list[str]] = defaultdict(list)
    for id_, reason in plan.rows.items():
        by_reason[reason].append(id_)
    return steps + [{"op": "drop_rows", "ids": sorted(ids), "reason": why} for why, ids in sorted(by_reason.items())]
