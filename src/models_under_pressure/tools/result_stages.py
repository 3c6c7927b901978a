"""Stages that measure scores and show them, a sub-command each."""

from pathlib import Path
from typing import TYPE_CHECKING

from models_under_pressure.commands.stage_inputs import Datasets, dataset_of, read_lineage, read_params

if TYPE_CHECKING:
    from models_under_pressure.params.lineage import Lineage


def evaluate(datasets: Datasets = None) -> None:
    """Measure the scores that every method gave the datasets in use.

    Example: mup evaluate
    """
    from models_under_pressure.stages import evaluate as stage

    params = read_params()
    for name in datasets or read_lineage().datasets:
        stage.run(
            name,
            methods=params.evaluate.methods_of(name, dataset_of(name).purpose),
            records=Path(dataset_of(name).path),
            config=params.evaluate,
            seed=params.seed,
        )


def summarise() -> None:
    """Gather the metrics that git tracks.

    Example: mup summarise
    """
    from models_under_pressure.stages import summarise as stage

    stage.run(datasets=_purposes(read_lineage()))


def plot() -> None:
    """Draw the figures.

    Example: mup plot
    """
    from models_under_pressure.stages import plot as stage

    params, lineage = read_params(), read_lineage()
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
    from models_under_pressure.core.yaml import dotted, load_plain
    from models_under_pressure.params.lineage import version_of
    from models_under_pressure.params.schema import PARAMS_PATH
    from models_under_pressure.stages import report as stage

    params, lineage = read_params(), read_lineage()
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


def _purposes(lineage: "Lineage") -> dict[str, str]:
    return {name: dataset.purpose for name, dataset in lineage.datasets.items()}
