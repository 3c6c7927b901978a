"""Stage `plot`: the figures."""

from collections.abc import Mapping
from pathlib import Path

from models_under_pressure.figures.auroc import chart
from models_under_pressure.figures.render import write_chart
from models_under_pressure.files import read_json

PLOTS = Path("plots")


def run(*, datasets: Mapping[str, str]) -> None:
    """Draw AUROC of every probe on every dataset.

    Args:
        datasets: dataset -> what it is for.
    """
    metrics = read_json(Path("metrics/evaluate.json"))
    rows = [
        {"dataset": dataset, "purpose": purpose, "probe": probe, **values}
        for dataset, purpose in datasets.items()
        for probe, values in metrics[dataset].items()
    ]
    write_chart(chart(rows), PLOTS / "auroc.json")
