"""Where stages put what other stages read."""

from pathlib import Path

TRAINING = Path("data/training/prompts_4x")
CONFOUNDERS = TRAINING / "confounders.json"
PROBES = Path("data/probes")
RESULTS = Path("data/results")
OVERLAPS = RESULTS / "overlap.json"
DATA_EFFICIENCY = RESULTS / "data_efficiency"
"""One file of rows per kind of method."""
TOKEN_SCORES = RESULTS / "score_tokens.jsonl"
FIGURES = Path("plots/figures")
"""Charts that the report shows."""


def store_path(model: str, dataset: str, layer: int) -> Path:
    """Path of an activation store; the layer is part of it, so that switching layers keeps both."""
    return Path("data/activations") / model / dataset / f"layer_{layer}.zarr"


def layer_store_path(model: str, layer: int) -> Path:
    """Path of the training prompts' activations for the choice of a layer."""
    return Path("data/activations") / model / "layers" / f"layer_{layer}.zarr"


def probe_paths(name: str, seed: int, seeds: int) -> list[Path]:
    """Folders of a probe's seeds."""
    return [PROBES / name / f"seed_{number}" for number in range(seed, seed + seeds)]


def scores_path(dataset: str, method: str) -> Path:
    """Score lists of a dataset by one method: `probes` (all of them), or the name of a baseline."""
    return RESULTS / "scores" / dataset / f"{method}.parquet"


def evaluated_path(dataset: str) -> Path:
    """Every metric of a dataset, with intervals and by group."""
    return RESULTS / "evaluate" / f"{dataset}.json"


def timing_path(method: str) -> Path:
    """Wall time of a method: dataset -> name -> `seconds` and `records`, without loading the model."""
    return RESULTS / "timing" / f"{method}.json"


def finetuned_paths(name: str, seed: int, seeds: int) -> list[Path]:
    """Folders of a finetuned model's seeds."""
    return [Path("data/finetuned") / name / f"seed_{number}" for number in range(seed, seed + seeds)]


def finetuned_method(name: str) -> str:
    """The method under which a finetuned model scores."""
    return f"finetuned_{name}"
