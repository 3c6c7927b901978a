"""Stages that train monitors and score datasets with them, a sub-command each."""

from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.commands import asking
from models_under_pressure.commands.stage_inputs import (
    Datasets,
    dataset_of,
    entry_of,
    paths_for,
    read_lineage,
    read_params,
    store_and_records,
)


def extract(datasets: Datasets = None) -> None:
    """Extract the activations of the datasets in use at `probe.layer`; what has not changed is kept.

    Example: mup extract
    """
    from models_under_pressure.stages import extract as stage

    params = read_params()
    for path, outcome in stage.run(
        {name: Path(dataset_of(name).path) for name in datasets or read_lineage().datasets},
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

    params = read_params()
    stage.run(
        probe,
        config=entry_of(params.train.probes, probe, "probe"),
        train=store_and_records("train", params),
        validation=store_and_records("validation", params),
        seed=params.seed,
    )


def score_probes(datasets: Datasets = None) -> None:
    """Score the datasets in use with every probe.

    Example: mup score_probes
    """
    from models_under_pressure.stages import score_probes as stage

    params = read_params()
    probes = {name: config.seeds for name, config in params.train.probes.items()}
    for name in datasets or read_lineage().datasets:
        store, records = store_and_records(name, params)
        stage.run(name, probes=probes, store=store, records=records, seed=params.seed)


def text_baseline() -> None:
    """Score every dataset by length and word counts.

    Example: mup text_baseline
    """
    from models_under_pressure.stages import text_baseline as stage

    params = read_params()
    stage.run(
        train=Path(dataset_of("train").path),
        datasets=paths_for(read_lineage(), "dev", "test"),
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

    params, lineage = read_params(), read_lineage()
    config = entry_of(params.prompt_baseline.models, name, "prompted model")
    stage.run(
        name,
        model=params.models.get(config.name) or config.name,
        config=config,
        dev=paths_for(lineage, "dev"),
        test=paths_for(lineage, "test"),
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

    params = read_params()
    config = entry_of(params.ask_baseline.models, name, "asked model")
    llm = params.llm.model_copy(update={"model": config.name})
    llm = asking.with_options(llm, allow_missing=allow_missing, refresh=refresh)
    datasets = paths_for(read_lineage(), "dev", "test")
    if dry_run:
        asking.dry_run(f"ask_baseline_{name}", llm, lambda store: stage.preview(datasets, llm=llm, store=store))
        return
    with asking.recorded(f"ask_baseline_{name}", llm) as ask:
        stage.run(name, datasets=datasets, ask=ask, seed=params.seed)


def finetune_baseline(
    name: Annotated[str, typer.Argument(help="Name of the model, as in params.yaml: finetune_baseline.models.")],
) -> None:
    """Train a language model further on the training prompts; a killed run goes on where it was.

    Example: mup finetune_baseline smollm2
    """
    from models_under_pressure.stages import finetune_baseline as stage

    params = read_params()
    entry_of(params.finetune_baseline.models, name, "finetuned model")
    stage.run(
        name,
        config=params.finetuned(name),
        train=Path(dataset_of("train").path),
        validation=Path(dataset_of("validation").path),
        seed=params.seed,
    )


def score_finetuned(
    name: Annotated[str, typer.Argument(help="Name of the model, as in params.yaml: finetune_baseline.models.")],
) -> None:
    """Score the datasets with a finetuned model.

    Example: mup score_finetuned smollm2
    """
    from models_under_pressure.stages import score_finetuned as stage

    params = read_params()
    config = entry_of(params.finetune_baseline.models, name, "finetuned model")
    stage.run(name, datasets=paths_for(read_lineage(), "dev", "test"), seeds=config.seeds, seed=params.seed)


def score_tokens() -> None:
    """Score every token of a few records of each dataset, for the heat maps of the report.

    Example: mup score_tokens
    """
    from models_under_pressure.stages import score_tokens as stage

    params = read_params()
    config = params.score_tokens
    entry_of(params.train.probes, config.probe, "probe")
    stage.run(
        datasets={name: store_and_records(name, params) for name in paths_for(read_lineage(), *config.purposes)},
        probe=config.probe,
        choices=config.choices,
        most=config.records,
        seed=params.seed,
    )
