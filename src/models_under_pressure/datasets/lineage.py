"""`data/versions.yaml`: sources, recipes of versions, datasets in use; and versions without what splits share."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import field_validator, model_validator

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import PURPOSES, Purpose
from models_under_pressure.core.section import PARAMS, Section, edit_yaml, load_yaml
from models_under_pressure.datasets.files import KINDS, split_path
from models_under_pressure.datasets.origins import LINEAGE_PATH, Source
from models_under_pressure.datasets.overlap import IN_USE, Overlap, OverlapConfig, Part, overlaps_between
from models_under_pressure.datasets.recipe import Version

SOURCE_VERSION = "source"
"""Name of the version that the parsed source is."""
FOLDERS = (
    "data/demo/control",
    "data/deployment",
    "data/evals",
    "data/own",
    "data/published",
    "data/training/prompts_4x",
)
"""Folders that `check_overlap` and `use_datasets` depend on: a file elsewhere could change unnoticed."""

_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class InUse(Section):
    """An entry of `datasets`, under its name and purpose."""

    name: str
    purpose: Purpose
    path: Path
    """File that is checked and then put into data/datasets."""
    version: str | None
    """Key of the version that it is a file of."""
    raw: Path | None
    """File that it was balanced from."""


class Lineage(Section):
    """The whole file."""

    sources: dict[str, Source]
    versions: dict[str, Version]
    """<dataset>_<version> -> its recipe."""
    datasets: dict[Purpose, dict[str, str]]
    """Purpose -> name -> version, whose balanced split of that purpose is used, or file of labelled records."""

    @field_validator("versions", mode="before")
    @classmethod
    def _named(cls, versions: Any, info: Any) -> Any:
        sources = info.data.get("sources", {})
        if not isinstance(versions, dict):
            return versions
        entries = cast("dict[str, Any]", versions)
        return {key: _with_names(key, entry, sources) for key, entry in entries.items()}

    @model_validator(mode="after")
    def _parents_exist(self) -> "Lineage":
        for version in self.versions.values():
            self._check_parents(version)
        return self

    @model_validator(mode="after")
    def _datasets_can_be_told_apart(self) -> "Lineage":
        names: dict[str, str] = {}
        files: dict[Path, str] = {}
        for one in self.in_use:
            if one.name in names:
                raise ValueError(
                    f"datasets: {one.name!r} is a {names[one.name]} and a {one.purpose} dataset: rename one"
                )
            if one.path in files:
                raise ValueError(f"datasets: {files[one.path]!r} and {one.name!r} are one file, {one.path}: remove one")
            names[one.name], files[one.path] = one.purpose, one.name
        for purpose in ("train", "validation"):
            if len(self.datasets.get(purpose, {})) != 1:
                raise ValueError(f"datasets.{purpose}: exactly one dataset is needed")
        return self

    def version(self, key: str) -> Version:
        """The version of that name.

        Raises:
            UserError: there is none.
        """
        if key not in self.versions:
            remedy = f"use one of {', '.join(self.versions)}."
            raise UserError(f"no version {key!r}.", where=str(LINEAGE_PATH), remedy=remedy)
        return self.versions[key]

    def splits_of(self, version: Version) -> tuple[str, ...]:
        """Names of a version's splits."""
        return self.sources[version.dataset].splits

    @property
    def in_use(self) -> list[InUse]:
        """The datasets in use: by purpose, then as in the file."""
        return [
            self._entry(name, purpose, value)
            for purpose in PURPOSES
            for name, value in self.datasets.get(purpose, {}).items()
        ]

    def _check_parents(self, version: Version) -> None:
        seen = {version.key}
        while version.parent != SOURCE_VERSION:
            parent = f"{version.dataset}_{version.parent}"
            if parent in seen:
                raise ValueError(f"versions.{version.key}: its parents form a cycle through {parent}")
            if parent not in self.versions:
                raise ValueError(f"versions.{version.key}: its parent {parent} does not exist")
            seen.add(parent)
            version = self.versions[parent]

    def _entry(self, name: str, purpose: Purpose, value: str) -> InUse:
        if not _WORD.fullmatch(name):
            raise ValueError(f"datasets.{purpose}: {name!r} is no word (letters, digits and _): rename it")
        where = f"datasets.{purpose}.{name}"
        if "/" in value or value.endswith(".jsonl"):
            path = Path(value)
            if ".." in path.parts or not any(path.is_relative_to(folder) for folder in FOLDERS):
                raise ValueError(f"{where}: the graph does not watch {value}: move it into data/own")
            return InUse(name=name, purpose=purpose, path=path, version=None, raw=None)
        version = self.versions.get(value)
        if version is None:
            known = f"versions: {', '.join(self.versions)}"
            raise ValueError(f"{where}: there is no version {value!r} (nor is it the path of a file); {known}")
        if purpose not in self.splits_of(version):
            raise ValueError(f"{where}: {value} has no {purpose} split, but {' and '.join(self.splits_of(version))}")
        raw, balanced = (split_path(version.dataset, version.version, purpose, kind=kind) for kind in KINDS)
        return InUse(name=name, purpose=purpose, path=balanced, version=value, raw=raw)


def load_lineage(path: Path = LINEAGE_PATH) -> Lineage:
    """Read the lineage.

    Raises:
        UserError: an unknown step or key, a missing parent or a cycle, or an entry of `datasets` that cannot be used,
            with the line or the entry.
    """
    return load_yaml(path, Lineage)


def latest_versions(lineage: Lineage) -> dict[str, str]:
    """Name of each dataset in use, as the project ships it -> the last version of its source, or its file."""
    found = {"train": "data/training/prompts_4x/train.jsonl", "validation": "data/training/prompts_4x/test.jsonl"}
    found["everyday"] = "data/demo/control/control.jsonl"
    for key, version in lineage.versions.items():
        found |= {f"{version.dataset}_{split}": key for split in lineage.splits_of(version)}
    return found


def _with_names(key: str, entry: Any, sources: dict[str, Source]) -> Any:
    """A recipe as the file has it, with the names that its key and its parent's spell."""
    if not _WORD.fullmatch(str(key)):
        raise ValueError(f"{key!r} is no word (letters, digits and _): rename it")
    dataset = max((name for name in sources if str(key).startswith(f"{name}_")), key=len, default=None)
    if dataset is None:
        raise ValueError(f"{key}: its name must begin with a source and _, such as {next(iter(sources), 'mt')}_apr_30")
    if not isinstance(entry, dict):
        return entry
    recipe = cast("dict[str, Any]", entry)
    parent = recipe.get("parent")
    if isinstance(parent, str) and not parent.startswith(f"{dataset}_"):
        raise ValueError(f"{key}: its parent must be a version of {dataset}, or {dataset}_{SOURCE_VERSION}")
    named = {"dataset": dataset, "version": str(key).removeprefix(f"{dataset}_")}
    return recipe | named | ({"parent": str(parent).removeprefix(f"{dataset}_")} if parent else {})


_LOSES = {"test": 0, "dev": 1}
"""Purposes of the datasets that lose rows first, and their place; training sets are made anew instead."""


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
    in_use = {one.name: one for one in lineage.in_use}
    inner = {f"{version.dataset}_{version.parent}" for version in lineage.versions.values()}
    inner -= {one.version for one in in_use.values()}
    plans = {
        name: Cleaned(name, within=len(pairs)) for name, pairs in excess.items() if name != IN_USE and name not in inner
    }
    stuck: list[Overlap] = []
    for pair in excess.get(IN_USE, ()):
        sides = {pair.left_split: (pair.left_id, pair.right_split), pair.right_split: (pair.right_id, pair.left_split)}
        names = sorted(sides, key=lambda name: (_LOSES.get(in_use[name].purpose, len(_LOSES)), name))
        versions = {name: version for name in names if (version := in_use[name].version) is not None}
        if not versions:
            stuck.append(pair)
        elif len(versions) == 1 or len(set(versions.values())) == 2:
            loser, version = next(iter(versions.items()))
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
            balance = lineage.versions[plan.parent].balance.model_dump(mode="json", exclude_unset=True)
            entry: dict[str, Any] = {"parent": plan.parent, "steps": _steps(plan, config)}
            content["versions"][plan.key] = entry | ({"balance": balance} if balance else {})
            for one in lineage.in_use:
                if one.version == plan.parent:
                    content["datasets"][one.purpose][one.name] = plan.key


def _steps(plan: Cleaned, config: OverlapConfig) -> list[dict[str, Any]]:
    within = {"op": "drop_overlaps", "split": "test", **config.model_dump(exclude={"allowed"})}
    by_reason: dict[str, list[str]] = defaultdict(list)
    for id_, reason in plan.rows.items():
        by_reason[reason].append(id_)
    across = [{"op": "drop_rows", "ids": sorted(ids), "reason": why} for why, ids in sorted(by_reason.items())]
    return [within] * bool(plan.within) + across
