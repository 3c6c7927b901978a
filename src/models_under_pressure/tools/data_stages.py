"""Stages that make datasets, a sub-command each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models_under_pressure.commands import asking
from models_under_pressure.commands.stage_inputs import (
    entry_of,
    read_lineage,
    read_params,
)

if TYPE_CHECKING:
    from models_under_pressure.llm.config import LLMConfig
    from models_under_pressure.llm.rehearsal import Round
    from models_under_pressure.llm.store import ReplyStore
    from models_under_pressure.params.lineage import Lineage


def fetch(source: Annotated[str, typer.Argument(help="Name of the source, as in data/versions.yaml.")]) -> None:
    """Bring one source into data/raw.

    Example: mup fetch mt
    """
    from models_under_pressure.stages import fetch as stage

    lineage = read_lineage()
    config = (lineage.sources | lineage.test_sources).get(source)
    stage.run(source, origin=read_params().fetch.source, files=config.files if config else ())


def download(file: Annotated[str, typer.Argument(help="Name of the file, as in published/params.yaml.")]) -> None:
    """Fetch one of the paper's published files.

    Example: mup download mt_test_balanced
    """
    from models_under_pressure.params.published import load_selected
    from models_under_pressure.stages import download as stage

    stage.run(file, file=entry_of(load_selected(), file, "selected file"))


def parse(source: Annotated[str, typer.Argument(help="Name of the source, as in data/versions.yaml.")]) -> None:
    """Read one source and divide it into dev and test.

    Example: mup parse mt
    """
    from models_under_pressure.stages import parse as stage

    lineage = read_lineage()
    config = entry_of(lineage.sources | lineage.test_sources, source, "source")
    stage.run(source, test_fraction=config.test_fraction, limit=config.limit, seed=read_params().seed)


def synthesise(
    preview: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Ask nothing: show the first N questions of each kind, and the cost."),
    ] = 0,
    dry_run: asking.DryRun = False,
    allow_missing: asking.AllowMissing = None,
    refresh: asking.Refresh = None,
) -> None:
    """Make the training prompts, and show what else than the stakes tells high from low.

    Example: mup synthesise --preview 5
    """
    from models_under_pressure.core.files import read_json
    from models_under_pressure.stages import synthesise as stage
    from models_under_pressure.stages.paths import CONFOUNDERS
    from models_under_pressure.synthesis.confounder_report import STATES, to_table

    params = read_params()
    llm = asking.with_options(params.llm, allow_missing=allow_missing, refresh=refresh)

    def rounds(store: "ReplyStore") -> "Sequence[Round]":
        return stage.preview(params.synthesise, label=params.relabel, llm=llm, store=store, seed=params.seed)

    if preview:
        _show_questions(rounds, llm, most=preview)
        return
    if dry_run:
        asking.dry_run("synthesise", llm, rounds)
        return
    with asking.recorded("synthesise", llm) as ask:
        stage.run(params.synthesise, label=params.relabel, ask=ask, seed=params.seed)
    summary = read_json(CONFOUNDERS)["summary"]
    print(to_table({state: summary[state] for state in STATES}), end="")


def relabel(
    version: Annotated[str, typer.Argument(help="Name of the version, as in data/versions.yaml.")],
    dry_run: asking.DryRun = False,
    allow_missing: asking.AllowMissing = None,
    refresh: asking.Refresh = None,
) -> None:
    """Make one dataset version from its parent.

    Example: mup relabel mt_apr_16 --dry-run
    """
    from models_under_pressure.params.lineage import find_version
    from models_under_pressure.stages import relabel as stage

    params, lineage = read_params(), read_lineage()
    llm = asking.with_options(params.llm, allow_missing=allow_missing, refresh=refresh)
    recipe, test_only = find_version(lineage, version), version in lineage.test_versions

    def rounds(store: "ReplyStore") -> "Sequence[Round]":
        return stage.preview(recipe, test_only=test_only, label=params.relabel, llm=llm, store=store, seed=params.seed)

    if dry_run:
        asking.dry_run(f"relabel_{version}", llm, rounds)
        return
    with asking.recorded(f"relabel_{version}", llm) as ask:
        stage.run(recipe, test_only=test_only, label=params.relabel, ask=ask, seed=params.seed)


def label_deployment(
    dry_run: asking.DryRun = False,
    allow_missing: asking.AllowMissing = None,
    refresh: asking.Refresh = None,
) -> None:
    """Label the deployment prompts and keep whole pairs.

    Example: mup label_deployment
    """
    from models_under_pressure.stages import label_deployment as stage

    params = read_params()
    llm = asking.with_options(params.llm, allow_missing=allow_missing, refresh=refresh)
    if dry_run:
        asking.dry_run("label_deployment", llm, lambda store: stage.preview(label=params.relabel, llm=llm, store=store))
        return
    with asking.recorded("label_deployment", llm) as ask:
        stage.run(label=params.relabel, ask=ask)


def check_overlap(
    clean: Annotated[
        bool, typer.Option("--clean", help="Declare versions without the overlapping rows in data/versions.yaml.")
    ] = False,
) -> None:
    """Stop when the splits of a version, or the datasets in use, share content.

    Example: mup check_overlap
    """
    from models_under_pressure.stages import check_overlap as stage

    config, lineage = read_params().check_overlap, read_lineage()
    in_use = {name: stage.InUse(Path(one.path), one.purpose) for name, one in lineage.datasets.items()}
    if clean:
        from models_under_pressure.commands.cleaning import clean_overlaps

        clean_overlaps(_split_paths(lineage), in_use, lineage, config)
    else:
        stage.run(_split_paths(lineage), in_use, config=config, allowed=config.allowed)


def describe() -> None:
    """Count the labels and lengths of every dataset file; draw stakes, words and confounders of those in use.

    Example: mup describe
    """
    from models_under_pressure.params.dataset_files import dataset_files, raw_file_of
    from models_under_pressure.stages import describe as stage

    lineage = read_lineage()
    in_use = {name: (Path(one.path), raw_file_of(lineage, one.path)) for name, one in lineage.datasets.items()}
    stage.run(dataset_files(lineage), in_use=in_use, train="train")


def _show_questions(rounds: "Callable[[ReplyStore], Sequence[Round]]", llm: "LLMConfig", *, most: int) -> None:
    from contextlib import closing

    from models_under_pressure.commands.recorded import open_store
    from models_under_pressure.synthesis.preview import describe

    with closing(open_store("synthesise")) as store:
        print(describe(rounds(store), llm, most=most), end="")


def _split_paths(lineage: "Lineage") -> dict[str, dict[str, Path]]:
    from models_under_pressure.datasets.files import SPLITS, split_path

    return {
        key: {split: split_path(version.dataset, version.version, split) for split in SPLITS}
        for key, version in lineage.versions.items()
    }
