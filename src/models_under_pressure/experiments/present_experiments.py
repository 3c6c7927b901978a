"""Draw the figures of the experiments and gather what git tracks of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_under_pressure.core.concept import PAPER, Words, chosen_concept, words_of
from models_under_pressure.core.files import read_json, read_jsonl, write_json
from models_under_pressure.core.paths import (
    EXPERIMENT_RESULTS,
    FIGURES,
    METRICS,
    ORIGINS,
    Dataset,
    datasets_in_use,
    evaluated_path,
)
from models_under_pressure.evaluation.report import headline, known_intervals, means_by_purpose
from models_under_pressure.figures import ExperimentFigure, declared
from models_under_pressure.figures.render import write_chart, write_pictures

PICTURES = EXPERIMENT_RESULTS / "figures"
"""Figures as PNG and SVG, for papers and slides."""
INTERVALS = METRICS / "experiments_intervals.json"
"""What `mup review` reads of a commit whose scores are out of reach; no metric of DVC."""


def command() -> None:
    """Draw the figures of the experiments, and gather their metrics.

    Example: mup present_experiments
    """
    contents = {name: origin["sha256"] for name, origin in read_json(ORIGINS).items()}
    run(datasets_in_use("dev", "test"), contents=contents, words=words_of(chosen_concept()))


def run(datasets: Sequence[Dataset], *, contents: Mapping[str, str], words: Words = PAPER) -> None:
    """Draw every figure as Vega-Lite, PNG and SVG, and write the metrics and intervals that git tracks.

    `contents` is dataset -> hash of its file; `words` are the concept's.
    """
    purposes = {one.name: one.purpose for one in datasets}
    evaluated = {name: read_json(evaluated_path(name, EXPERIMENT_RESULTS))["metrics"] for name in purposes}
    metrics: dict[str, Any] = {"baselines": {}}
    for purpose, methods in means_by_purpose(evaluated, purposes).items():
        for method, row in methods.items():
            metrics["baselines"].setdefault(method, {})[purpose] = headline(row)
    for name, figure in declared(ExperimentFigure).items():
        found = _read(EXPERIMENT_RESULTS / figure.results)
        if figure.summary:
            metrics[name] = _rounded(figure.summary(found))
        path = FIGURES / "experiments" / f"{name}.json"
        said = {"words": words} if figure.worded else {}
        specification = write_chart(figure.chart(found, **said), path, finding=figure.finding(found, **said))
        write_pictures(specification, PICTURES / name)
    write_json(METRICS / "experiments.json", metrics)
    write_json(INTERVALS, known_intervals(evaluated, purposes, contents))


def _rounded(value: Any) -> Any:
    """Two places: probes of single tokens (maxima) amplify the last bits of a product, which differ between CPUs."""
    if isinstance(value, float):
        return round(value, 2)
    return {key: _rounded(one) for key, one in value.items()} if hasattr(value, "items") else value


def _read(path: Path) -> Any:
    """The rows of a JSON Lines file or of a folder of them, or the value of a JSON file."""
    if path.is_dir():
        return [row for file in sorted(path.glob("*.jsonl")) for row in _read(file)]
    return [row for _, row in read_jsonl(path)] if path.suffix == ".jsonl" else read_json(path)
