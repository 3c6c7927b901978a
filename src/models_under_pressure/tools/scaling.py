"""Show AUROC against the size of the model that probes, prompted and finetuned monitors read."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models_under_pressure.evaluation.scaling import Run


def command(
    revisions: Annotated[
        list[str] | None, typer.Argument(metavar="REV...", help="Commits or experiments; by default the workspace.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=NUMBER", help="Size of a model whose config is out of reach, such as a gated one."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Figure to write, as PNG; the Vega-Lite goes beside it.")] = Path(
        "scaling.png"
    ),
) -> None:
    """Show AUROC against the size of the model that probes, prompted and finetuned monitors read.

    Example: mup scaling workspace --parameters smollm2-135m=134.5e6
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.evaluation.scaling import scaling_rows, to_table
    from models_under_pressure.figures import scaling as figure
    from models_under_pressure.figures.render import write_chart
    from models_under_pressure.review.revisions import WORKSPACE

    runs = [_read_run(name) for name in revisions or [WORKSPACE]]
    short = {alias: model for run in runs for alias, model in run.params.get("models", {}).items()}
    rows = scaling_rows(runs, _sizes(parameters or [], short))
    if not rows:
        raise UserError(
            "no monitor that reads a model has an AUROC.",
            where=", ".join(run.name for run in runs),
            remedy="score dev or test sets of two classes.",
        )
    print(to_table(rows), end="")
    write_chart(figure.chart(rows), output.with_suffix(".json"), finding=figure.finding(rows), pictures=True)


def _read_run(name: str) -> "Run":
    """What git holds of a run: its means with intervals, which commits before intervals.json keep in summary.json."""
    import json

    from models_under_pressure.core.errors import UserError
    from models_under_pressure.evaluation.scaling import Run, means_of
    from models_under_pressure.review.revisions import Revision

    revision = Revision(name, Path())
    params = revision.yaml("params.yaml") | revision.yaml("experiments/params.yaml")
    intervals = [revision.text(f"metrics/{file}.json") for file in ("intervals", "experiments_intervals")]
    if any(intervals):
        return Run(name, params, means_of(json.loads(found) for found in intervals if found))
    if not (summary := revision.text("metrics/summary.json")):
        raise UserError("no metrics/intervals.json.", where=name, remedy="run `dvc repro` there and commit.")
    return Run(name, params, json.loads(summary))


def _sizes(given: list[str], short: dict[str, str]) -> Callable[[str], int]:
    """Parameters of a model: as given, else its matrices by its config (of a mixture of experts the active ones)."""
    from functools import cache

    from models_under_pressure.core.errors import UserError

    known = {}
    for one in given:
        name, _, number = one.rpartition("=")
        try:
            known[short.get(name, name)] = round(float(number))
        except ValueError:
            raise UserError(f"not a size: {one!r}.", remedy="write MODEL=NUMBER, such as llama-1b=1.24e9.") from None

    @cache
    def size(model: str) -> int:
        if model in known:
            return known[model]
        from models_under_pressure.activations.config import ModelConfig
        from models_under_pressure.activations.flops import read_architecture
        from models_under_pressure.core.settings import load_settings

        token = load_settings().hf_token
        found = read_architecture(ModelConfig(name=model), token=token.get_secret_value() if token else None)
        return sum(block.weights for block in found.blocks) + found.hidden * found.vocabulary

    return size
