"""Every dataset file that the pipeline makes."""

from pathlib import Path

from models_under_pressure.datasets.deployment import CONTEXTS
from models_under_pressure.datasets.files import split_path, splits_of
from models_under_pressure.datasets.splits import SPLITS
from models_under_pressure.params.lineage import TRAINING, Lineage


def dataset_files(lineage: Lineage) -> dict[str, dict[str, Path]]:
    """Version, `training` or `deployment` -> part, such as `dev_raw` -> file."""
    files: dict[str, dict[str, Path]] = {}
    for versions, test_only in ((lineage.versions, False), (lineage.test_versions, True)):
        for key, version in versions.items():
            files[key] = {
                f"{split}_{kind}": split_path(version.dataset, version.version, split, kind=kind)
                for split in splits_of(test_only=test_only)
                for kind in ("raw", "balanced")
            }
    files["training"] = {split: Path(f"{TRAINING}/{split}.jsonl") for split in ("train", "test")}
    files["deployment"] = {context: Path(f"data/deployment/{context}.jsonl") for context in CONTEXTS}
    return files


def raw_file_of(lineage: Lineage, path: str) -> Path | None:
    """The raw file that a balanced file of a version was made from; None for any other file."""
    for version in (*lineage.versions.values(), *lineage.test_versions.values()):
        for split in SPLITS:
            if split_path(version.dataset, version.version, split, kind="balanced") == Path(path):
                return split_path(version.dataset, version.version, split, kind="raw")
    return None
