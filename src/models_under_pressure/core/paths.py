"""The datasets in use, and where stages put what other stages read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from models_under_pressure.core.concept import STAKES, Classes, chosen_concept
from models_under_pressure.core.errors import UserError

Purpose = Literal["train", "validation", "control", "dev", "test"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
IN_USE = Path("data/datasets")
NO_CONTROL = Path("control/none.txt")
"""What stands in a folder of datasets or activations without a control set, because DVC keeps no empty folder."""
ORIGINS = IN_USE / "origins.json"
"""Name of a dataset -> the version or file that it is, the file it was balanced from, and its content."""


TRAINING = Path("data/training/prompts_4x")
CONFOUNDERS = TRAINING / "confounders.json"
PROBES = Path("data/probes")
RESULTS = Path("data/results")
"""Folder of the results of the root pipeline."""
EXPERIMENT_RESULTS = Path("data/experiments")
"""Folder of the results of experiments and language-model baselines."""
OVERLAPS = RESULTS / "overlap.json"
TOKEN_SCORES = RESULTS / "score_tokens.jsonl"
CARDS = RESULTS / "cards"
"""What is known of each probe, as Markdown: its own README and what was measured since."""
FIGURES = Path("plots/figures")
"""Charts, in one folder per stage that draws them."""
METRICS = Path("metrics")


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset in use."""

    name: str
    """Name, unique over all purposes, as in results."""
    purpose: Purpose
    """Use it is put to."""
    classes: Classes = STAKES
    """The words for its labels."""

    @property
    def path(self) -> Path:
        """File of its labelled records."""
        return IN_USE / self.purpose / f"{self.name}.jsonl"


def datasets_in_use(*purposes: Purpose) -> list[Dataset]:
    """The datasets of some purposes, or all: train, validation, control, dev, test, and by name within each.

    Raises:
        UserError: a purpose that was asked for by name has none.
    """
    found: list[Dataset] = []
    for purpose in PURPOSES:
        if purposes and purpose not in purposes:
            continue
        own = _of_purpose(purpose)
        if purposes and not own:
            raise UserError(
                f"no {purpose} dataset.", where=str(IN_USE / purpose), remedy="run `dvc repro use_datasets`."
            )
        found += own
    if not found:
        raise UserError("no dataset is in use.", where=str(IN_USE), remedy="run `dvc repro use_datasets`.")
    return found


def control_sets() -> list[Dataset]:
    """The control sets, of which there may be none."""
    return _of_purpose("control")


def _of_purpose(purpose: Purpose) -> list[Dataset]:
    classes = chosen_concept().classes
    return [Dataset(path.stem, purpose, classes) for path in sorted((IN_USE / purpose).glob("*.jsonl"))]


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


def layer_folder(model: str, layer: int) -> Path:
    """Folder of the activations that enter one layer; the layer is in its name, so that switching layers keeps both."""
    return Path("data/activations") / model / f"layer_{layer}"


def store_path(model: str, dataset: Dataset, layer: int) -> Path:
    """Path of a dataset's activations."""
    return layer_folder(model, layer) / dataset.purpose / f"{dataset.name}.zarr"


def layer_store_path(model: str, layer: int) -> Path:
    """Path of the training prompts' activations for the choice of a layer."""
    return Path("data/activations") / model / "layers" / f"layer_{layer}.zarr"


def probe_paths(name: str, seed: int, seeds: int) -> list[Path]:
    """Folders of a probe's seeds."""
    return [PROBES / name / f"seed_{number}" for number in range(seed, seed + seeds)]


def scores_path(method: str, root: Path = RESULTS) -> Path:
    """Score lists of all datasets by one method: `probes` (all of them), or the name of a baseline."""
    return root / "scores" / f"{method}.parquet"


def evaluated_path(dataset: str, root: Path = RESULTS) -> Path:
    """Every metric of a dataset, with intervals and by group."""
    return root / "evaluate" / f"{dataset}.json"


def timing_path(method: str) -> Path:
    """Wall time of a method: dataset -> name -> `seconds` and `records`, without loading the model; no output."""
    return Path("data/timing") / f"{method}.json"


def finetuned_paths(name: str, seed: int, seeds: int) -> list[Path]:
    """Folders of a finetuned model's seeds."""
    return [Path("data/finetuned") / name / f"seed_{number}" for number in range(seed, seed + seeds)]


def finetuned_method(name: str) -> str:
    """The method under which a finetuned model scores."""
    return f"finetuned_{name}"
