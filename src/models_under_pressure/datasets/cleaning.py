"""`mup check_overlap --clean`: declare versions without the overlapping rows; no file is changed in place."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import PARAMS, edit_yaml
from models_under_pressure.datasets.lineage import LINEAGE_PATH, Lineage
from models_under_pressure.datasets.overlap import IN_USE, Overlap, OverlapConfig, Part, overlaps_between

_LOSES = ("test", "dev")
"""Purposes of the datasets that may lose rows, in this order; training sets are made anew instead."""


@dataclass
class Cleaned:
    """A version to be declared."""

    parent: str
    """Key of the version that overlaps."""
    within: int = 0
    """Pairs between its own splits."""
    rows: dict[str, str] = field(default_factory=dict[str, str])
    """Ids that overlap with other datasets in use -> the reason."""

    @property
    def key(self) -> str:
        """Name of the new version."""
        return f"{self.parent}_clean"


def clean_overlaps(
    parts: Mapping[str, Sequence[Part]], lineage: Lineage, config: OverlapConfig, *, allowed: Mapping[str, int]
) -> list[str]:
    """Add a version `<version>_clean` for each one that overlaps more than allowed; point the datasets in use at it.

    A version that only others are made from is not cleaned itself. Versions that overlap stay as they are, and the
    number of their pairs is accepted by name in params.yaml.

    Returns:
        Lines that say what was done.

    Raises:
        UserError: two sets overlap of which none is a version, or a cleaned version exists already.
    """
    pairs = {name: overlaps_between(list(one), config) for name, one in parts.items()}
    excess = {name: found for name, found in pairs.items() if len(found) > allowed.get(name, 0)}
    plans = _plan(excess, lineage, accepted=allowed.get(IN_USE, 0))
    accepted = {name: len(found) for name, found in excess.items() if name != IN_USE}
    if not (plans or accepted):
        return ["nothing to clean: no overlap beyond what params.yaml allows"]
    _declare(plans, lineage, config)
    if accepted:
        with edit_yaml(PARAMS) as content:
            content["check_overlap"]["allowed"].update(accepted)
    told = [
        f"{plan.key} added to {LINEAGE_PATH}: {plan.within} pairs between its splits, "
        f"{len(plan.rows)} rows that other datasets in use have"
        for plan in plans
    ]
    told += [
        f"{name} stays as it is: its {count} pairs are accepted in params.yaml, check_overlap.allowed"
        for name, count in accepted.items()
    ]
    return [*told, "run `dvc repro` to make the new versions"]


def _plan(excess: Mapping[str, Sequence[Overlap]], lineage: Lineage, *, accepted: int) -> list[Cleaned]:
    versions = {one.name: one.version for one in lineage.in_use}
    purposes = {one.name: one.purpose for one in lineage.in_use}
    used = set(versions.values())
    inner = {f"{version.dataset}_{version.parent}" for version in lineage.versions.values()} - used
    plans = {
        name: Cleaned(name, within=len(pairs)) for name, pairs in excess.items() if name != IN_USE and name not in inner
    }
    stuck: list[Overlap] = []
    for pair in excess.get(IN_USE, ()):
        sides = {pair.left_split: (pair.left_id, pair.right_split), pair.right_split: (pair.right_id, pair.left_split)}
        names = sorted(sides, key=lambda name: (_rank(purposes[name]), name))
        if versions.get(names[0]) is not None and versions.get(names[0]) == versions.get(names[1]):
            continue
        loser = next((name for name in names if versions.get(name)), None)
        version = versions[loser] if loser else None
        if loser is None or version is None:
            stuck.append(pair)
            continue
        id_, other = sides[loser]
        plan = plans.setdefault(version, Cleaned(version))
        plan.rows.setdefault(id_, f"overlaps ({pair.kind}) with {other} {sides[other][0]}")
    if len(stuck) > accepted:
        pair = stuck[0]
        raise UserError(
            f"{len(stuck)} pairs are of sets that are no version of {LINEAGE_PATH} ({accepted} accepted), first "
            f"{pair.kind}: {pair.left_split} {pair.left_id} ~ {pair.right_split} {pair.right_id}.",
            where="check_overlap --clean",
            remedy="make one of the sets anew, or accept the pairs in params.yaml: check_overlap.allowed.in_use.",
        )
    return list(plans.values())


def _rank(purpose: str) -> int:
    return _LOSES.index(purpose) if purpose in _LOSES else len(_LOSES)


def _declare(plans: Sequence[Cleaned], lineage: Lineage, config: OverlapConfig) -> None:
    for plan in plans:
        if plan.key in lineage.versions:
            raise UserError(
                f"{plan.key} exists already, and there is overlap nevertheless.",
                where=str(LINEAGE_PATH),
                remedy="run `dvc repro`; if the overlap is still there, review the steps of that version.",
            )
    with edit_yaml(LINEAGE_PATH) as content:
        for plan in plans:
            entry: dict[str, Any] = {"parent": plan.parent, "steps": _steps(plan, config)}
            balance = lineage.versions[plan.parent].balance
            if balance.model_fields_set:
                entry["balance"] = balance.model_dump(mode="json", exclude_unset=True)
            content["versions"][plan.key] = entry
            for one in lineage.in_use:
                if one.version == plan.parent:
                    content["datasets"][one.purpose][one.name] = plan.key


def _steps(plan: Cleaned, config: OverlapConfig) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if plan.within:
        steps.append({"op": "drop_overlaps", "split": "test", **config.model_dump(exclude={"allowed"})})
    by_reason: dict[str, list[str]] = defaultdict(list)
    for id_, reason in plan.rows.items():
        by_reason[reason].append(id_)
    return steps + [{"op": "drop_rows", "ids": sorted(ids), "reason": why} for why, ids in sorted(by_reason.items())]
