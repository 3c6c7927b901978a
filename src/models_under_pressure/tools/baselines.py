"""`mup baselines`: what one would run instead of a probe, on any model and data, outside the pipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models_under_pressure.commands import asking

if TYPE_CHECKING:
    from models_under_pressure.baselines.data import LabelledRecords

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
    batch: Annotated[
        int | None, typer.Option(help="Tokens of one forward pass; by default what suits the device.")
    ] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Precision; auto suits the device.")
    ] = "auto",
    quantization: Annotated[Literal["none", "8bit", "4bit"], typer.Option(help="Width of the weights.")] = "none",
    out: Annotated[Path, typer.Option(help="Folder for the rows; what it holds is not computed again.")] = Path(
        "data/baselines/prompted"
    ),
    api: Annotated[
        bool, typer.Option("--api", help="The model is behind an API; the options below are for it.")
    ] = False,
    record: Annotated[bool, typer.Option("--record", help="Ask, and pay, for replies that are not recorded.")] = False,
    dry_run: asking.DryRun = False,
    allow_missing: asking.AllowUndecided = None,
) -> None:
    """Ask a model for the stakes with every wording: AUROC of each, and rows as JSON Lines.

    A model behind an API (`--api`, with the settings of params.yaml: llm) says a probability and its reasons instead.

    Example: mup baselines prompted --model llama-1b
    """
    if api:
        from models_under_pressure.commands.asked import ask_model

        ask_model(
            model,
            _datasets(dataset or []),
            out / model.replace("/", "--"),
            record=record,
            dry_run=dry_run,
            allow_missing=allow_missing,
        )
        return
    from models_under_pressure.baselines.prompted import PromptedMonitor, choose_template
    from models_under_pressure.baselines.prompted_config import PromptConfig
    from models_under_pressure.core.settings import load_settings
    from models_under_pressure.params.schema import PARAMS_PATH, load_params

    options = {"templates": tuple(template)} if template else {}
    config = PromptConfig.model_validate(
        {"name": model, "dtype": dtype, "quantization": quantization, "max_tokens": max_tokens}
        | {"batch_tokens": batch or "auto"}
        | options
    )
    aliases = load_params().models if PARAMS_PATH.exists() else {}
    token = load_settings().hf_token
    monitor = PromptedMonitor(
        config,
        out / model.replace("/", "--"),
        model=aliases.get(model, model),
        token=token.get_secret_value() if token else None,
    )
    data = _datasets(dataset or [])
    best, aurocs = choose_template(monitor.score, data, config.templates)
    print(f"{'AUROC':16}" + "".join(f"{one.name[:18]:>20}" for one in data) + f"{'mean':>8}")
    for name, found in aurocs.items():
        mean = f"{sum(found.values()) / len(found):.3f}" if found else "-"
        print(f"{name:16}" + "".join(f"{found.get(one.name, float('nan')):20.3f}" for one in data) + f"{mean:>8}")
    print(f"best wording: {best}; rows: {out / model.replace('/', '--')}")


def _datasets(names: list[str]) -> "list[LabelledRecords]":
    from models_under_pressure.baselines.data import read_labelled
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.params.lineage import LINEAGE_PATH, load_lineage

    known = load_lineage().datasets if LINEAGE_PATH.exists() else {}
    chosen = names or [name for name, one in known.items() if one.purpose == "dev"]
    if not chosen:
        raise UserError("no dataset is named.", remedy="give --dataset FILE, or run from the project's folder.")
    unknown = [name for name in chosen if name not in known and not Path(name).is_file()]
    if unknown:
        raise UserError(
            f"no dataset or file {unknown[0]!r}.", remedy=f"use a labelled file, or one of {', '.join(known)}."
        )
    return [
        read_labelled(name, Path(known[name].path)) if name in known else read_labelled(Path(name).stem, Path(name))
        for name in chosen
    ]
