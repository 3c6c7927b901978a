"""Make one dataset version from its parent with the steps of its recipe."""

from typing import Annotated

import typer

from models_under_pressure.core.concept import chosen_concept
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json
from models_under_pressure.core.section import read
from models_under_pressure.datasets.files import manifest_path, read_splits, write_version
from models_under_pressure.datasets.labelling import LabelConfig, Labeller, labeller
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.datasets.recipe import Version, VersionResult, run_recipe
from models_under_pressure.datasets.steps import Tools
from models_under_pressure.llm import options
from models_under_pressure.llm.answering import recorded
from models_under_pressure.llm.ask import Asker
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.options import Rehearsal


def command(
    version: Annotated[str, typer.Argument(help="Name of the version, as in data/versions.yaml.")],
    dry_run: options.DryRun = False,
    allow_missing: options.AllowMissing = None,
    refresh: options.Refresh = None,
) -> None:
    """Make one dataset version from its parent with the steps of its recipe.

    Example: mup relabel mt_apr_16 --dry-run
    """
    lineage = load_lineage()
    recipe = lineage.version(version)
    splits, seed = lineage.splits_of(recipe), read("seed", int)
    label = labeller(chosen_concept(), read("relabel", LabelConfig))
    llm = options.with_options(read("llm", LLMConfig), allow_missing=allow_missing, refresh=refresh)
    if not dry_run:
        with recorded(f"relabel_{version}", llm) as ask:
            run(recipe, splits=splits, label=label, ask=ask, seed=seed)
        return

    def rehearse(ask: Rehearsal) -> None:
        try:
            make(recipe, splits=splits, label=label, ask=ask, seed=seed)
        except UserError:
            if ask.is_certain:  # else it may be the fillers that cannot be balanced
                raise

    options.dry_run(f"relabel_{version}", llm, rehearse)


def run(version: Version, *, splits: tuple[str, ...], label: Labeller, ask: Asker, seed: int) -> None:
    """Run the recipe and write raw and balanced files with a manifest.

    Raises:
        UserError: a split would be empty.
    """
    result = make(version, splits=splits, label=label, ask=ask, seed=seed)
    write_version(result.raw, result.balanced, version.dataset, version.version, splits=splits)
    write_json(manifest_path(version.dataset, version.version), result.manifest)


def make(version: Version, *, splits: tuple[str, ...], label: Labeller, ask: Asker, seed: int) -> VersionResult:
    """What a run writes, without writing it."""
    parent = read_splits(version.dataset, version.parent, label.classes, splits=splits)
    return run_recipe(version, parent, tools=Tools(ask, label), seed=seed)
