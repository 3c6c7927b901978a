"""Stage `relabel`: make one dataset version from its parent."""

from models_under_pressure.datasets.files import manifest_path, read_splits, splits_of, write_version
from models_under_pressure.datasets.labelling import LabelConfig
from models_under_pressure.datasets.recipe import Version, run_recipe
from models_under_pressure.datasets.steps.base import Tools
from models_under_pressure.files import write_json
from models_under_pressure.llm.ask import Asker


def run(version: Version, *, test_only: bool, label: LabelConfig, ask: Asker, seed: int) -> None:
    """Run the recipe and write raw and balanced files with a manifest.

    Raises:
        UserError: a split would be empty.
    """
    splits = splits_of(test_only=test_only)
    parent = read_splits(version.dataset, version.parent, splits=splits)
    result = run_recipe(version, parent, tools=Tools(ask, label), seed=seed)
    write_version(result.raw, result.balanced, version.dataset, version.version, splits=splits)
    write_json(manifest_path(version.dataset, version.version), result.manifest)
