"""What the sub-commands of stages read, and hand to them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models_under_pressure.params.lineage import Dataset, Lineage
    from models_under_pressure.params.schema import Params

Datasets = Annotated[list[str] | None, typer.Argument(help="Names in data/versions.yaml; by default all in use.")]


def read_params() -> "Params":
    """The whole of params.yaml."""
    from models_under_pressure.params.schema import load_params

    return load_params()


def read_lineage() -> "Lineage":
    """The whole of data/versions.yaml."""
    from models_under_pressure.params.lineage import load_lineage

    return load_lineage()


def entry_of(entries: dict[str, Any], name: str, what: str) -> Any:
    """The entry of that name; `what` says what it is, should there be none.

    Raises:
        UserError: there is none.
    """
    from models_under_pressure.core.errors import UserError

    if name not in entries:
        raise UserError(f"no {what} {name!r}.", remedy=f"use one of {', '.join(entries)}.")
    return entries[name]


def dataset_of(name: str) -> "Dataset":
    """A dataset in use.

    Raises:
        UserError: there is none of that name.
    """
    return entry_of(read_lineage().datasets, name, "dataset")


def store_and_records(dataset: str, params: "Params") -> tuple[Path, Path]:
    """A dataset's activations at `probe.layer`, and its records."""
    from models_under_pressure.stages.paths import store_path

    return store_path(params.model.name, dataset, params.probe.layer), Path(dataset_of(dataset).path)


def paths_for(lineage: "Lineage", *purposes: str) -> dict[str, Path]:
    """The datasets in use that serve one of the purposes -> their files."""
    return {name: Path(dataset.path) for name, dataset in lineage.datasets.items() if dataset.purpose in purposes}


def datasets_for(*purposes: str) -> "dict[str, Dataset]":
    """The datasets in use that serve one of the purposes, in the order of data/versions.yaml."""
    return {name: one for name, one in read_lineage().datasets.items() if one.purpose in purposes}
