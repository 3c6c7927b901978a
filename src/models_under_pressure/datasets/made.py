"""Every dataset file that the pipeline made."""

from pathlib import Path

from models_under_pressure.core.paths import TRAINING
from models_under_pressure.datasets.deployment import CONTEXTS
from models_under_pressure.datasets.files import made_versions


def dataset_files() -> dict[str, dict[str, Path]]:
    """Version, `training` or `deployment` -> part, such as `dev_raw` -> file."""
    files: dict[str, dict[str, Path]] = {
        made.key: {
            f"{split}_{kind}": made.path(split, kind=kind) for split in made.splits for kind in ("raw", "balanced")
        }
        for made in made_versions()
    }
    files["training"] = {split: TRAINING / f"{split}.jsonl" for split in ("train", "test")}
    files["deployment"] = {context: Path(f"data/deployment/{context}.jsonl") for context in CONTEXTS}
    return files
