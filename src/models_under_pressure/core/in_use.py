"""The datasets in use: files in data/datasets/<purpose>/, which have passed the overlap check."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from models_under_pressure.core.errors import UserError

Purpose = Literal["train", "validation", "dev", "test"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
IN_USE = Path("data/datasets")
ORIGINS = IN_USE / "origins.json"
"""Name of a dataset -> the version or file that it is, the file it was balanced from, and its content."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset in use."""

    name: str
    """Name, unique over all purposes, as in results."""
    purpose: Purpose
    """What it is for."""

    @property
    def path(self) -> Path:
        """File of its labelled records."""
        return IN_USE / self.purpose / f"{self.name}.jsonl"


def datasets_in_use(*purposes: Purpose) -> list[Dataset]:
    """The datasets of some purposes, or all: train, validation, dev, test, and by name within each.

    Raises:
        UserError: a purpose that was asked for by name has none.
    """
    found: list[Dataset] = []
    for purpose in PURPOSES:
        if purposes and purpose not in purposes:
            continue
        own = [Dataset(path.stem, purpose) for path in sorted((IN_USE / purpose).glob("*.jsonl"))]
        if purposes and not own:
            raise UserError(
                f"no {purpose} dataset.", where=str(IN_USE / purpose), remedy="run `dvc repro use_datasets`."
            )
        found += own
    if not found:
        raise UserError("no dataset is in use.", where=str(IN_USE), remedy="run `dvc repro use_datasets`.")
    return found


def dataset_in_use(name: str) -> Dataset:
    """The dataset of that name.

    Raises:
        UserError: there is none.
    """
    every = datasets_in_use()
    for dataset in every:
        if dataset.name == name:
            return dataset
    raise UserError(f"no dataset {name!r}.", remedy=f"use one of {', '.join(one.name for one in every)}.")


def the_one(purpose: Purpose) -> Dataset:
    """The only dataset of a purpose, such as the training prompts.

    Raises:
        UserError: there is none.
    """
    return datasets_in_use(purpose)[0]
