"""`published/catalog.yaml` and `published/params.yaml`: the published files of the paper, and those chosen."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.yaml import load_yaml
from models_under_pressure.datasets.published import PublishedFile

CATALOG_PATH = Path("published/catalog.yaml")
SELECTED_PATH = Path("published/params.yaml")
Origin = Literal["r2", "hub"]
"""Cloudflare R2, or the Hugging Face hub."""


class Copy(BaseModel):
    """A file as one origin has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Below the origin's base."""
    sha256: str | None = None
    rows: int | None = None


class CatalogFile(BaseModel):
    """A file, wherever it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str
    """Where its records go, below data/published."""
    used_as: str | None = None
    """The entry of `datasets` in data/versions.yaml that it can take the place of."""
    r2: Copy
    hub: Copy


class Catalog(BaseModel):
    """Every published file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bases: dict[Origin, str]
    files: dict[str, CatalogFile]

    def select(self, key: str, origin: Origin) -> PublishedFile:
        """The file as it is asked for.

        Raises:
            UserError: there is no such file.
        """
        if key not in self.files:
            raise UserError(
                f"no published file {key!r}.", where=str(CATALOG_PATH), remedy=f"use one of {', '.join(self.files)}."
            )
        file = self.files[key]
        copy: Copy = getattr(file, origin)
        return PublishedFile(url=self.bases[origin] + copy.path, sha256=copy.sha256, rows=copy.rows, to=file.to)


class Selected(BaseModel):
    """The files that published/dvc.yaml fetches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    selected: dict[str, PublishedFile]


def load_catalog(path: Path = CATALOG_PATH) -> Catalog:
    """Read the catalog.

    Raises:
        UserError: an unknown, missing or mistyped key, with its line.
    """
    return load_yaml(path, Catalog)


def load_selected(path: Path = SELECTED_PATH) -> dict[str, PublishedFile]:
    """Read the selection.

    Raises:
        UserError: an unknown, missing or mistyped key, with its line.
    """
    return load_yaml(path, Selected).selected
