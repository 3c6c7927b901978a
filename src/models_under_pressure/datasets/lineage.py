"""`data/versions.yaml`: the sources, the recipe of every dataset version, and the datasets in use."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from pydantic import field_validator, model_validator

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import PURPOSES, Purpose
from models_under_pressure.core.section import Section, load_yaml
from models_under_pressure.datasets.files import split_path
from models_under_pressure.datasets.origins import LINEAGE_PATH, Source
from models_under_pressure.datasets.recipe import Version

SOURCE_VERSION = "source"
"""Name of the version that the parsed source is."""
FOLDERS = ("data/deployment", "data/evals", "data/own", "data/published", "data/training/prompts_4x")
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
        entries = list(self._entries())
        names: dict[str, str] = {}
        files: dict[Path, str] = {}
        for one in entries:
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
        return list(self._entries())

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

    def _entries(self) -> Iterator[InUse]:
        for purpose in PURPOSES:
            for name, value in self.datasets.get(purpose, {}).items():
                if not _WORD.fullmatch(name):
                    raise ValueError(f"datasets.{purpose}: {name!r} is no word (letters, digits and _): rename it")
                yield self._entry(name, purpose, value)

    def _entry(self, name: str, purpose: Purpose, value: str) -> InUse:
        where = f"datasets.{purpose}.{name}"
        if "/" in value or value.endswith(".jsonl"):
            path = Path(value)
            if ".." in path.parts or not any(path.is_relative_to(folder) for folder in FOLDERS):
                raise ValueError(f"{where}: the graph does not watch {value}: move it into data/own")
            return InUse(name=name, purpose=purpose, path=path, version=None, raw=None)
        version = self.versions.get(value)
        if version is None:
            known = ", ".join(self.versions)
            raise ValueError(
                f"{where}: there is no version {value!r} (nor is it the path of a file); versions: {known}"
            )
        if purpose not in self.splits_of(version):
            raise ValueError(f"{where}: {value} has no {purpose} split, but {' and '.join(self.splits_of(version))}")
        raw, balanced = (
            split_path(version.dataset, version.version, purpose, kind=kind) for kind in ("raw", "balanced")
        )
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
