"""Show AUROC against the size of the model that probes, prompted and finetuned monitors read."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.flops import read_architecture
from models_under_pressure.core.display import text_table
from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.report import means_by_purpose
from models_under_pressure.review.revisions import WORKSPACE, Revision

Row = dict[str, Any]

_BASELINES = {"prompted_": ("prompt_baseline", "name"), "finetuned_": ("finetune_baseline", "model")}
"""Beginning of a baseline's name -> its section of experiments/params.yaml, and the key of its model there."""
_COLUMNS = {
    "": "{purpose}",
    "monitor": "{monitor}",
    "model": "{model}",
    ">parameters": "{parameters:.3g}",
    ">AUROC": "{auroc:.3f}",
    "[95 % interval]": "[{auroc_low:.3f}, {auroc_high:.3f}]",
    ">n": "{n:,}",
    "run": "{run}",
}
"""Head of a column of the table -> its cells."""
_METRICS = ("auroc", "auroc_low", "auroc_high", "n", "datasets")


@dataclass(frozen=True)
class Run:
    """What git holds of one run."""

    name: str
    """Name of its commit or experiment."""
    params: Mapping[str, Any]
    """Sections of params.yaml and experiments/params.yaml."""
    means: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Purpose -> monitor -> mean of each metric over its datasets, with interval ends."""


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
    from models_under_pressure.figures.by_size import scaling_chart, scaling_finding
    from models_under_pressure.figures.render import write_chart

    runs = [_read_run(name) for name in revisions or [WORKSPACE]]
    short = {alias: model for run in runs for alias, model in run.params.get("models", {}).items()}
    rows = scaling_rows(runs, _sizes(parameters or [], short))
    if not rows:
        names, remedy = ", ".join(run.name for run in runs), "score dev or test sets of two classes."
        raise UserError("no monitor that reads a model has an AUROC.", where=names, remedy=remedy)
    print(to_table(rows), end="")
    write_chart(scaling_chart(rows), output.with_suffix(".json"), finding=scaling_finding(rows), pictures=True)


def _read_run(name: str) -> Run:
    """What git holds of a run: its means with intervals, which commits before intervals.json keep in summary.json."""
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
    known: dict[str, int] = {}
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
        found = read_architecture(ModelConfig(name=model))
        return sum(block.weights for block in found.blocks) + found.hidden * found.vocabulary

    return size


def means_of(files: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float | int]]]:
    """The means of a run, from its metrics/intervals.json and metrics/experiments_intervals.json."""
    methods: dict[str, dict[str, Any]] = {}
    purposes: dict[str, str] = {}
    for file in files:
        for dataset, found in file.items():
            purposes[dataset] = found["purpose"]
            methods.setdefault(dataset, {}).update(found["methods"])
    return means_by_purpose(methods, purposes)


def scaling_rows(runs: Iterable[Run], parameters: Callable[[str], int]) -> list[Row]:
    """One row per purpose, monitor and model, by model size; a result that several runs share stands once.

    Args:
        runs: of probes on different models; prompted and finetuned models count too.
        parameters: number of parameters of a model, by Hugging Face id, path or the embedded model's name.

    Returns:
        Rows with `purpose` (dev or test), `monitor` (a probe's name, `prompted` or `finetuned`), `model`, `parameters`,
        AUROC with its interval (mean over `datasets`), `n` and `run`.
    """
    found: dict[tuple[Any, ...], Row] = {}
    for run in runs:
        for purpose in ("dev", "test"):
            for name, metrics in run.means.get(purpose, {}).items():
                reads = _model_of(name, run.params)
                if reads is None or "auroc" not in metrics:
                    continue
                monitor, model = reads
                row = {"purpose": purpose, "monitor": monitor, "model": model}
                row |= {key: metrics[key] for key in _METRICS}
                resolved = run.params.get("models", {}).get(model, model)
                found.setdefault(tuple(row.values()), row | {"parameters": parameters(resolved), "run": run.name})
    return sorted(found.values(), key=lambda row: (row["purpose"], row["monitor"], row["parameters"]))


def to_table(rows: Sequence[Row]) -> str:
    """The rows as aligned text."""
    return text_table(tuple(_COLUMNS), [[cell.format(**row) for cell in _COLUMNS.values()] for row in rows])


def _model_of(monitor: str, params: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name of the series and the model that a monitor reads; None where it reads none."""
    if monitor in params["train"]["probes"]:
        return monitor, str(params["model"]["name"])
    for beginning, (section, key) in _BASELINES.items():
        models = params.get(section, {}).get("models", {})
        if monitor.startswith(beginning) and (name := monitor.removeprefix(beginning)) in models:
            return beginning.rstrip("_"), str(models[name][key])
    return None
