"""Stage `relabel`: make one dataset version from its parent."""

from collections.abc import Sequence

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json
from models_under_pressure.datasets.files import manifest_path, read_splits, splits_of, write_version
from models_under_pressure.datasets.labelling import LabelConfig
from models_under_pressure.datasets.recipe import Version, run_recipe
from models_under_pressure.datasets.steps.base import Tools
from models_under_pressure.llm.ask import Asker
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.rehearsal import Rehearsal, Round
from models_under_pressure.llm.store import ReplyStore


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


def preview(
    version: Version, *, test_only: bool, label: LabelConfig, llm: LLMConfig, store: ReplyStore, seed: int
) -> Sequence[Round]:
    """What a run would ask, round by round; nothing is asked or written."""
    rehearsal = Rehearsal(llm, store)
    parent = read_splits(version.dataset, version.parent, splits=splits_of(test_only=test_only))
    try:
        run_recipe(version, parent, tools=Tools(rehearsal, label), seed=seed)
    except UserError:
        if rehearsal.is_certain:  # else it may be the fillers that cannot be balanced
            raise
    return rehearsal.rounds
