"""Gather what git tracks of the results: the metrics that people compare, and the intervals behind them."""

from collections.abc import Mapping, Sequence
from typing import Any

from models_under_pressure.core.files import read_json, write_json
from models_under_pressure.core.paths import METRICS, ORIGINS, OVERLAPS, Dataset, datasets_in_use, evaluated_path
from models_under_pressure.evaluation.report import headline, known_intervals, means_by_purpose

INTERVALS = METRICS / "intervals.json"
"""What `mup review` reads of a commit whose scores are out of reach; no metric of DVC."""


def command() -> None:
    """Gather the metrics and intervals that git tracks.

    Example: mup summarise
    """
    datasets = datasets_in_use()
    run(datasets, contents={name: origin["sha256"] for name, origin in read_json(ORIGINS).items()})


def run(datasets: Sequence[Dataset], *, contents: Mapping[str, str]) -> None:
    """Write summary.json, evaluate.json, overlap.json and intervals.json to metrics/.

    Args:
        datasets: the datasets in use; of those with the purpose `train` nothing is compared.
        contents: dataset -> hash of its file.
    """
    judged = [dataset for dataset in datasets if dataset.purpose != "train"]
    evaluated = {one.name: read_json(evaluated_path(one.name))["metrics"] for one in judged}
    means = means_by_purpose(evaluated, {one.name: one.purpose for one in judged if one.purpose in ("dev", "test")})
    aurocs = {
        name: {method: row["auroc"] for method, row in methods.items()}
        for name, methods in evaluated.items()
        if all("auroc" in row for row in methods.values())  # a dataset of one class has none
    }
    summary = {
        purpose: {method: headline(row) for method, row in methods.items()} for purpose, methods in means.items()
    }
    write_json(METRICS / "summary.json", summary)
    write_json(METRICS / "evaluate.json", {"auroc": aurocs})
    overlaps: dict[str, dict[str, Any]] = read_json(OVERLAPS)["compared"]
    write_json(METRICS / "overlap.json", {name: len(found["pairs"]) for name, found in overlaps.items()})
    write_json(INTERVALS, known_intervals(evaluated, {one.name: one.purpose for one in judged}, contents))
