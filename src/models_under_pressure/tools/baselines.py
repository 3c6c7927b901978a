"""Run baselines outside the pipeline, on any model and data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal

import typer

from models_under_pressure.baselines.asked import ask_classes, write_asked
from models_under_pressure.baselines.data import LabelledRecords, read_labelled
from models_under_pressure.baselines.prompted.run import PromptConfig, PromptedMonitor, choose_template
from models_under_pressure.core.concept import chosen_concept
from models_under_pressure.core.display import text_table
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import IN_USE, datasets_in_use
from models_under_pressure.core.section import PARAMS, model_aliases, read
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.llm import options
from models_under_pressure.llm.answering import recorded
from models_under_pressure.llm.config import LLMConfig

app = typer.Typer(help="Run baselines outside the pipeline.", no_args_is_help=True)


@app.callback()
def _baselines() -> None:
    pass


@app.command()
def prompted(
    model: Annotated[str, typer.Option(help="Short name from params.yaml, Hugging Face id, or local path.")],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", "--datasets", help="Name from data/versions.yaml, or labelled file; all dev sets if none."
        ),
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option("--template", "--templates", help="Wording; repeatable; all if none.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest prompt; conversations of longer ones are cut.")] = 8192,
    dtype: Annotated[
        Literal["auto", "fast", "float32", "bfloat16"],
        typer.Option(help="Precision; fast suits the device, auto gives the same numbers on every CPU."),
    ] = "fast",
    quantization: Annotated[Literal["none", "8bit", "4bit"], typer.Option(help="Width of the weights.")] = "none",
    out: Annotated[Path, typer.Option(help="Folder for the rows; what it holds is not computed again.")] = Path(
        "data/baselines/prompted"
    ),
    api: Annotated[
        bool, typer.Option("--api", help="The model is behind an API; the options below are for it.")
    ] = False,
    record: Annotated[bool, typer.Option("--record", help="Ask, and pay, for replies that are not recorded.")] = False,
    dry_run: options.DryRun = False,
    allow_missing: options.AllowUndecided = None,
) -> None:
    """Ask a model for the class with every wording: AUROC of each, and rows as JSON Lines.

    A model behind an API (`--api`, with the settings of params.yaml: llm) says a probability and its reasons instead.

    Example: mup baselines prompted --model llama-1b
    """
    folder, data = out / model.replace("/", "--"), _datasets(dataset or [])
    if api:
        _ask_model(model, data, folder, record=record, dry_run=dry_run, allow_missing=allow_missing)
        return
    settings = {"dtype": dtype, "quantization": quantization, "max_tokens": max_tokens}
    _prompt_model(model, data, folder, settings | ({"templates": tuple(template)} if template else {}))


def _prompt_model(
    model: str, datasets: Sequence[LabelledRecords], folder: Path, settings: Mapping[str, object]
) -> None:
    """Score every dataset with every wording, keep the rows, and print AUROC of each."""
    config = PromptConfig.model_validate({"name": model, **settings})
    monitor = PromptedMonitor(config, folder, model=model_aliases().get(model, model), concept=chosen_concept())
    best, aurocs = choose_template(monitor.score, datasets, config.templates)
    rows: list[list[str]] = []
    for name, found in aurocs.items():
        shown = (f"{found.get(one.name, float('nan')):.3f}" for one in datasets)
        rows.append([name, *shown, f"{fmean(found.values()):.3f}" if found else "-"])
    print(text_table(("AUROC", *(f">{one.name}" for one in datasets), ">mean"), rows), end="")
    print(f"best wording: {best}; rows: {folder}")


def _ask_model(
    model: str,
    datasets: Sequence[LabelledRecords],
    folder: Path,
    *,
    record: bool,
    dry_run: bool,
    allow_missing: int | None,
) -> None:
    """Ask about every record, print AUROC of each dataset, and keep rows and replies."""
    llm = read("llm", LLMConfig) if PARAMS.exists() else LLMConfig(model=model)
    llm = options.with_options(llm.model_copy(update={"model": model}), allow_missing=allow_missing, refresh=None)
    if record:
        llm = llm.model_copy(update={"mode": "record"})
    concept = chosen_concept()
    if dry_run:
        options.dry_run("replies", llm, lambda ask: ask_classes(datasets, concept, ask), folder=folder)
        return
    with recorded("replies", llm, folder) as ask:
        found = ask_classes(datasets, concept, ask)
    rows: list[list[object]] = []
    for asked in found:
        write_asked(folder / f"{asked.data.name}.jsonl", asked)
        labels = asked.data.labels
        value = f"{auroc(asked.probabilities, labels):.3f}" if labels.any() and not labels.all() else "-"
        rows.append([asked.data.name, value, len(labels), len(asked.unanswered)])
    print(text_table(("dataset", ">AUROC", ">records", ">unanswered"), rows), end="")
    print(f"rows and replies: {folder}")


def _datasets(names: list[str]) -> list[LabelledRecords]:
    known = {one.name: one for one in datasets_in_use()} if IN_USE.exists() else {}
    chosen = names or [name for name, one in known.items() if one.purpose == "dev"]
    if not chosen:
        raise UserError("no dataset is named.", remedy="give --dataset FILE, or run from the project's folder.")
    for name in chosen:
        if name not in known and not Path(name).is_file():
            others = f"one of {', '.join(known)}" if known else "run `dvc repro use_datasets` for those in use"
            raise UserError(f"no dataset or file {name!r}.", remedy=f"use a labelled file, or {others}.")
    files = {name: known[name].path if name in known else Path(name) for name in chosen}
    classes = chosen_concept().classes
    return [read_labelled(name if name in known else path.stem, path, classes) for name, path in files.items()]
