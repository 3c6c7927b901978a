"""One sub-command per stage: reads params.yaml and data/versions.yaml, and hands the stage what it needs."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models_under_pressure.commands import asking

if TYPE_CHECKING:
    from models_under_pressure.llm.ask import Asker
    from models_under_pressure.llm.config import LLMConfig
    from models_under_pressure.llm.rehearsal import Round
    from models_under_pressure.llm.store import ReplyStore
    from models_under_pressure.params.lineage import Dataset, Lineage
    from models_under_pressure.params.schema import Params

_PANEL = "Stages of the pipeline"
_Datasets = Annotated[list[str] | None, typer.Argument(help="Names in data/versions.yaml; by default all in use.")]


def add_to(app: typer.Typer) -> None:
    """Add the sub-commands."""
    for command in (
        download,
        fetch,
        parse,
        synthesise,
        relabel,
        label_deployment,
        check_overlap,
        describe,
        extract,
        train,
        score_probes,
        text_baseline,
        prompt_baseline,
        ask_baseline,
        finetune_baseline,
        score_finetuned,
        evaluate,
        summarise,
        score_tokens,
        plot,
        report,
    ):
        app.command(command.__name__, rich_help_panel=_PANEL)(command)


def fetch(source: Annotated[str, typer.Argument(help="Name of the source, as in data/versions.yaml.")]) -> None:
    """Bring one source into data/raw.

    Example: mup fetch mt
    """
    from models_under_pressure.stages import fetch as stage

    lineage = _lineage()
    config = (lineage.sources | lineage.test_sources).get(source)
    stage.run(source, origin=_params().fetch.source, files=config.files if config else ())


def download(file: Annotated[str, typer.Argument(help="Name of the file, as in published/params.yaml.")]) -> None:
    """Fetch one of the paper's published files.

    Example: mup download mt_test_balanced
    """
    from models_under_pressure.params.published import load_selected
    from models_under_pressure.stages import download as stage

    stage.run(file, file=_entry(load_selected(), file, "selected file"))


def parse(source: Annotated[str, typer.Argument(help="Name of the source, as in data/versions.yaml.")]) -> None:
    """Read one source and divide it into dev and test.

    Example: mup parse mt
    """
    from models_under_pressure.stages import parse as stage

    lineage = _lineage()
    config = _entry(lineage.sources | lineage.test_sources, source, "source")
    stage.run(source, test_fraction=config.test_fraction, limit=config.limit, seed=_params().seed)


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
    from models_under_pressure.files import read_json
    from models_under_pressure.stages import synthesise as stage
    from models_under_pressure.stages.paths import CONFOUNDERS
    from models_under_pressure.synthesis.confounder_report import STATES, to_table

    params = _params()
    llm = asking.with_options(params.llm, allow_missing=allow_missing, refresh=refresh)

    def rounds(store: "ReplyStore") -> "Sequence[Round]":
        return stage.preview(params.synthesise, label=params.relabel, llm=llm, store=store, seed=params.seed)

    if preview:
        _show_questions(rounds, llm, most=preview)
        return
    if dry_run:
        asking.dry_run("synthesise", llm, rounds)
        return
    with _recorded("synthesise", llm) as ask:
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

    params, lineage = _params(), _lineage()
    llm = asking.with_options(params.llm, allow_missing=allow_missing, refresh=refresh)
    recipe, test_only = find_version(lineage, version), version in lineage.test_versions

    def rounds(store: "ReplyStore") -> "Sequence[Round]":
        return stage.preview(recipe, test_only=test_only, label=params.relabel, llm=llm, store=store, seed=params.seed)

    if dry_run:
        asking.dry_run(f"relabel_{version}", llm, rounds)
        return
    with _recorded(f"relabel_{version}", llm) as ask:
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

    params = _params()
    llm = asking.with_options(params.llm, allow_missing=allow_missing, refresh=refresh)
    if dry_run:
        asking.dry_run("label_deployment", llm, lambda store: stage.preview(label=params.relabel, llm=llm, store=store))
        return
    with _recorded("label_deployment", llm) as ask:
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

    config, lineage = _params().check_overlap, _lineage()
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

    lineage = _lineage()
    in_use = {name: (Path(one.path), raw_file_of(lineage, one.path)) for name, one in lineage.datasets.items()}
    stage.run(dataset_files(lineage), in_use=in_use, train="train")


def extract(datasets: _Datasets = None) -> None:
    """Extract the activations of the datasets in use at `probe.layer`; what has not changed is kept.

    Example: mup extract
    """
    from models_under_pressure.stages import extract as stage

    params = _params()
    for path, outcome in stage.run(
        {name: Path(_dataset(name).path) for name in datasets or _lineage().datasets},
        alias=params.model.name,
        model=params.resolved_model,
        layer=params.probe.layer,
        config=params.extract,
    ):
        print(f"{outcome:8} {path}")


def train(probe: Annotated[str, typer.Argument(help="Name of the probe, as in params.yaml: train.probes.")]) -> None:
    """Fit one probe.

    Example: mup train attention
    """
    from models_under_pressure.stages import train as stage

    params = _params()
    stage.run(
        probe,
        config=_entry(params.train.probes, probe, "probe"),
        train=_inputs("train", params),
        validation=_inputs("validation", params),
        seed=params.seed,
    )


def score_probes(datasets: _Datasets = None) -> None:
    """Score the datasets in use with every probe.

    Example: mup score_probes
    """
    from models_under_pressure.stages import score_probes as stage

    params = _params()
    probes = {name: config.seeds for name, config in params.train.probes.items()}
    for name in datasets or _lineage().datasets:
        store, records = _inputs(name, params)
        stage.run(name, probes=probes, store=store, records=records, seed=params.seed)


def text_baseline() -> None:
    """Score every dataset by length and word counts.

    Example: mup text_baseline
    """
    from models_under_pressure.stages import text_baseline as stage

    params = _params()
    stage.run(
        train=Path(_dataset("train").path),
        datasets=_for_purposes(_lineage(), "dev", "test"),
        config=params.text_baseline,
        seed=params.seed,
    )


def prompt_baseline(
    name: Annotated[str, typer.Argument(help="Name of the monitor, as in params.yaml: prompt_baseline.models.")],
) -> None:
    """Ask one model for the stakes of every conversation.

    Example: mup prompt_baseline smollm2
    """
    from models_under_pressure.stages import prompt_baseline as stage

    params, lineage = _params(), _lineage()
    config = _entry(params.prompt_baseline.models, name, "prompted model")
    stage.run(
        name,
        model=params.models.get(config.name) or config.name,
        config=config,
        dev=_for_purposes(lineage, "dev"),
        test=_for_purposes(lineage, "test"),
        seed=params.seed,
    )


def ask_baseline(
    name: Annotated[str, typer.Argument(help="Name of the monitor, as in params.yaml: ask_baseline.models.")],
    dry_run: asking.DryRun = False,
    allow_missing: asking.AllowUndecided = None,
    refresh: asking.Refresh = None,
) -> None:
    """Ask one model behind an API for the stakes of every conversation.

    Example: mup ask_baseline gpt4o --dry-run
    """
    from models_under_pressure.stages import ask_baseline as stage

    params = _params()
    config = _entry(params.ask_baseline.models, name, "asked model")
    llm = params.llm.model_copy(update={"model": config.name})
    llm = asking.with_options(llm, allow_missing=allow_missing, refresh=refresh)
    datasets = _for_purposes(_lineage(), "dev", "test")
    if dry_run:
        asking.dry_run(f"ask_baseline_{name}", llm, lambda store: stage.preview(datasets, llm=llm, store=store))
        return
    with _recorded(f"ask_baseline_{name}", llm) as ask:
        stage.run(name, datasets=datasets, ask=ask, seed=params.seed)


def finetune_baseline(
    name: Annotated[str, typer.Argument(help="Name of the model, as in params.yaml: finetune_baseline.models.")],
) -> None:
    """Train a language model further on the training prompts; a killed run goes on where it was.

    Example: mup finetune_baseline smollm2
    """
    from models_under_pressure.stages import finetune_baseline as stage

    params = _params()
    config = _entry(params.finetune_baseline.models, name, "finetuned model")
    stage.run(
        name,
        config=config.model_copy(update={"model": params.models.get(config.model, config.model)}),
        train=Path(_dataset("train").path),
        validation=Path(_dataset("validation").path),
        seed=params.seed,
    )


def score_finetuned(
    name: Annotated[str, typer.Argument(help="Name of the model, as in params.yaml: finetune_baseline.models.")],
) -> None:
    """Score the datasets with a finetuned model.

    Example: mup score_finetuned smollm2
    """
    from models_under_pressure.stages import score_finetuned as stage

    params = _params()
    config = _entry(params.finetune_baseline.models, name, "finetuned model")
    stage.run(name, datasets=_for_purposes(_lineage(), "dev", "test"), seeds=config.seeds, seed=params.seed)


def evaluate(datasets: _Datasets = None) -> None:
    """Measure the scores that every method gave the datasets in use.

    Example: mup evaluate
    """
    from models_under_pressure.stages import evaluate as stage

    params = _params()
    for name in datasets or _lineage().datasets:
        stage.run(
            name,
            methods=params.evaluate.methods_of(name, _dataset(name).purpose),
            records=Path(_dataset(name).path),
            config=params.evaluate,
            seed=params.seed,
        )


def summarise() -> None:
    """Gather the metrics that git tracks.

    Example: mup summarise
    """
    from models_under_pressure.stages import summarise as stage

    stage.run(datasets=_purposes(_lineage()))


def score_tokens() -> None:
    """Score every token of a few records of each dataset, for the heat maps of the report.

    Example: mup score_tokens
    """
    from models_under_pressure.stages import score_tokens as stage

    params = _params()
    config = params.score_tokens
    _entry(params.train.probes, config.probe, "probe")
    stage.run(
        datasets={name: _inputs(name, params) for name in _for_purposes(_lineage(), *config.purposes)},
        probe=config.probe,
        choices=config.choices,
        most=config.records,
        seed=params.seed,
    )


def plot() -> None:
    """Draw the figures.

    Example: mup plot
    """
    from models_under_pressure.stages import plot as stage

    params, lineage = _params(), _lineage()
    shown = {name: one for name, one in lineage.datasets.items() if one.purpose in params.plot.purposes}
    stage.run(
        datasets={name: (one.purpose, Path(one.path)) for name, one in shown.items()},
        methods={name: params.evaluate.methods_of(name, one.purpose) for name, one in shown.items()},
        probes=list(params.train.probes),
        closely=params.plot.closely,
        budget=params.evaluate.fpr_budgets[0],
        bins=params.evaluate.bins,
        length_bins=params.evaluate.length_bins,
    )


def report() -> None:
    """Write plots/report.html, a page with all results that needs no network.

    Example: mup report
    """
    from models_under_pressure.params.lineage import version_of
    from models_under_pressure.params.loading import dotted, load_plain
    from models_under_pressure.params.schema import PARAMS_PATH
    from models_under_pressure.stages import report as stage

    params, lineage = _params(), _lineage()
    stage.run(
        datasets={
            name: stage.Source(Path(one.path), one.purpose, version_of(lineage, one.path))
            for name, one in lineage.datasets.items()
        },
        methods={name: params.evaluate.methods_of(name, one.purpose) for name, one in lineage.datasets.items()},
        figures=params.report.figures,
        errors=params.report.errors,
        errors_of=params.report.errors_of,
        probes=list(params.train.probes),
        params=dotted(load_plain(PARAMS_PATH)),
        seed=params.seed,
    )


def _show_questions(rounds: "Callable[[ReplyStore], Sequence[Round]]", llm: "LLMConfig", *, most: int) -> None:
    from contextlib import closing

    from models_under_pressure.commands.recorded import open_store
    from models_under_pressure.synthesis.preview import describe

    with closing(open_store("synthesise")) as store:
        print(describe(rounds(store), llm, most=most), end="")


def _recorded(name: str, llm: "LLMConfig") -> "AbstractContextManager[Asker]":
    from models_under_pressure.commands.recorded import recorded

    return recorded(name, llm)


def _params() -> "Params":
    from models_under_pressure.params.schema import load_params

    return load_params()


def _lineage() -> "Lineage":
    from models_under_pressure.params.lineage import load_lineage

    return load_lineage()


def _entry(entries: dict[str, Any], name: str, what: str) -> Any:
    from models_under_pressure.errors import UserError

    if name not in entries:
        raise UserError(f"no {what} {name!r}.", remedy=f"use one of {', '.join(entries)}.")
    return entries[name]


def _dataset(name: str) -> "Dataset":
    return _entry(_lineage().datasets, name, "dataset")


def _inputs(dataset: str, params: "Params") -> tuple[Path, Path]:
    from models_under_pressure.stages.paths import store_path

    return store_path(params.model.name, dataset, params.probe.layer), Path(_dataset(dataset).path)


def _for_purposes(lineage: "Lineage", *purposes: str) -> dict[str, Path]:
    return {name: Path(dataset.path) for name, dataset in lineage.datasets.items() if dataset.purpose in purposes}


def _purposes(lineage: "Lineage") -> dict[str, str]:
    return {name: dataset.purpose for name, dataset in lineage.datasets.items()}


def _split_paths(lineage: "Lineage") -> dict[str, dict[str, Path]]:
    from models_under_pressure.datasets.files import SPLITS, split_path

    return {
        key: {split: split_path(version.dataset, version.version, split) for split in SPLITS}
        for key, version in lineage.versions.items()
    }
