"""Stage `describe`: label counts and lengths of every dataset file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models_under_pressure.datasets.distribution import chart_rows, distribution
from models_under_pressure.figures.label_counts import chart
from models_under_pressure.figures.render import write_chart
from models_under_pressure.files import write_json
from models_under_pressure.records import read_records

METRICS = Path("metrics")
PLOTS = Path("plots")


def run(files: Mapping[str, Mapping[str, Path]]) -> None:
    """Write metrics/distribution.json and plots/label_counts.json.

    Args:
        files: dataset version -> part (such as `dev_raw`) -> file.
    """
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    rows: list[dict[str, Any]] = []
    for dataset, parts in files.items():
        metrics[dataset] = {part: distribution(read_records(path)) for part, path in parts.items()}
        for part, found in metrics[dataset].items():
            rows += chart_rows(dataset, found, part=part)
    write_json(METRICS / "distribution.json", metrics)
    write_chart(chart(rows), PLOTS / "label_counts.json")
