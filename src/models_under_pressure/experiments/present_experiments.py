"""Stage `present_experiments`: the figures of the experiments, and the metrics that git tracks."""

from pathlib import Path
from typing import Any

from models_under_pressure.core.files import read_json, read_jsonl, write_json
from models_under_pressure.figures.experiments import EXPERIMENTS
from models_under_pressure.figures.render import spec, write_chart, write_png, write_svg
from models_under_pressure.stages.paths import FIGURES, RESULTS

DRAWN = RESULTS / "figures"


def run() -> None:
    """Draw every experiment's figure, as Vega-Lite, PNG and SVG, and write metrics/experiments.json."""
    metrics = {}
    for name, experiment in EXPERIMENTS.items():
        found = _read(RESULTS / experiment.results)
        metrics[name] = experiment.summary(found)
        chart, finding = experiment.chart(found), experiment.finding(found)
        write_chart(chart, FIGURES / f"{name}.json", finding=finding)
        specification = spec(chart, finding)
        write_png(specification, DRAWN / f"{name}.png")
        write_svg(specification, DRAWN / f"{name}.svg")
    write_json(Path("metrics/experiments.json"), metrics)


def _read(path: Path) -> Any:
    """The rows of a JSON Lines file or of a folder of them, or the value of a JSON file."""
    if path.is_dir():
        return [row for file in sorted(path.glob("*.jsonl")) for row in _read(file)]
    return [row for _, row in read_jsonl(path)] if path.suffix == ".jsonl" else read_json(path)
