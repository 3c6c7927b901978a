"""Where stages put what other stages read."""

from pathlib import Path

TRAINING = Path("data/training/prompts_4x")
CONFOUNDERS = TRAINING / "confounders.json"
PROBES = Path("data/probes")
RESULTS = Path("data/results")
OVERLAPS = RESULTS / "overlap.json"


def store_path(model: str, dataset: str, layer: int) -> Path:
    """Path of an activation store; the layer is part of it, so that switching layers keeps both."""
    return Path("data/activations") / model / dataset / f"layer_{layer}.zarr"


def probe_paths(name: str, seed: int, seeds: int) -> list[Path]:
    """Folders of a probe's seeds."""
    return [PROBES / name / f"seed_{number}" for number in range(seed, seed + seeds)]
