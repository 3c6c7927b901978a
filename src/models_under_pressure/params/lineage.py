"""`data/versions.yaml`: the sources, the recipe of every dataset version, and the datasets in use."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.yaml import load_yaml
from models_under_pressure.datasets.files import split_path
from models_under_pressure.datasets.origins import OriginFile
from models_under_pressure.datasets.recipe import Version
from models_under_pressure.datasets.splits import SPLITS

LINEAGE_PATH = Path("data/versions.yaml")
TRAINING = "data/training/prompts_4x"
SOURCE_VERSION = "source"
"""The version that the parsed source is."""


class Source(BaseModel):
    """Where a source is published, and how it is divided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    test_fraction: float = Field(ge=0, le=1)
    """Chance of a group to be in the test split; 1 for a test-only set."""
    limit: int | None = Field(default=None, ge=1)
    """Most rows drawn per split."""
    files: tuple[OriginFile, ...] = ()
    """What `fetch.source: hub` downloads."""


class Dataset(BaseModel):
    """A file that activations are extracted from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    purpose: Literal["train", "validation", "dev", "test"]


class Lineage(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: dict[str, Source]
    """Sources with a dev and a test split."""
    test_sources: dict[str, Source] = {}
    """Sources with a test split only."""
    versions: dict[str, Version]
    """Versions of the sources with two splits."""
    test_versions: dict[str, Version] = {}
    """Versions of the test-only sources."""
    datasets: dict[str, Dataset]

    @model_validator(mode="after")
    def _parents_exist(self) -> "Lineage":
        for sources, versions in ((self.sources, self.versions), (self.test_sources, self.test_versions)):
            for key, version in versions.items():
                _check_version(key, version, sources, versions)
        return self


def load_lineage(path: Path = LINEAGE_PATH) -> Lineage:
    """Read the lineage.

    Raises:
        UserError: an unknown step or key, a missing parent or a cycle, with the line or the version.
    """
    return load_yaml(path, Lineage)


def find_version(lineage: Lineage, key: str) -> Version:
    """The version of that name.

    Raises:
        UserError: there is none.
    """
    every = lineage.versions | lineage.test_versions
    if key not in every:
        raise UserError(f"no version {key!r}.", where=str(LINEAGE_PATH), remedy=f"use one of {', '.join(every)}.")
    return every[key]


def latest_paths(lineage: Lineage) -> dict[str, str]:
    """Name of each dataset in use -> the file that the pipeline makes for it: balanced, of the last version."""
    paths = {name: f"{TRAINING}/{split}.jsonl" for name, split in (("train", "train"), ("validation", "test"))}
    for versions, splits in ((lineage.versions, SPLITS), (lineage.test_versions, ("test",))):
        for version in versions.values():
            for split in splits:
                path = split_path(version.dataset, version.version, split, kind="balanced")
                paths[f"{version.dataset}_{split}"] = path.as_posix()
    return paths


def version_of(lineage: Lineage, path: str) -> str:
    """Version of a dataset file; the name of its folder for a file that no recipe makes."""
    for version in (*lineage.versions.values(), *lineage.test_versions.values()):
        for split in SPLITS:
            for kind in ("raw", "balanced"):
                if split_path(version.dataset, version.version, split, kind=kind) == Path(path):
                    return version.version
    return Path(path).parent.name


def _check_version(key: str, version: Version, sources: dict[str, Source], versions: dict[str, Version]) -> None:
    if version.dataset not in sources:
        raise ValueError(f"{key}: no source {version.dataset!r} in this group")
    if key != f"{version.dataset}_{version.version}":
        raise ValueError(f"{key}: the key of this version must be {version.dataset}_{version.version}")
    seen = {key}
    while version.parent != SOURCE_VERSION:
        parent = f"{version.dataset}_{version.parent}"
        if parent in seen:
            raise ValueError(f"{key}: its parents form a cycle through {parent}")
        if parent not in versions:
            raise ValueError(f"{key}: its parent {parent} does not exist")
        seen.add(parent)
        version = versions[parent]
