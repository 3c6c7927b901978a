"""Stage `summarise`: gather what git tracks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import read_json, write_json
from models_under_pressure.evaluation.summary import compact, headline, means_by_purpose
from models_under_pressure.stages.paths import CONFOUNDERS, OVERLAPS, evaluated_path

METRICS = Path("metrics")


def run(*, datasets: Mapping[str, str]) -> None:
    """Write evaluate.json, summary.json, overlap.json and confounders.json to metrics/.

    Args:
        datasets: dataset -> what it is for.
    """
    evaluated = {name: read_json(evaluated_path(name))["metrics"] for name in datasets}
    write_json(METRICS / "evaluate.json", _each(evaluated, compact))
    write_json(METRICS / "summary.json", _each(means_by_purpose(evaluated, datasets), headline))
    overlaps: dict[str, dict[str, Any]] = read_json(OVERLAPS)
    counts = {
        name: {"pairs": len(found["pairs"]), "rows": sum(found["rows"].values())} for name, found in overlaps.items()
    }
    write_json(METRICS / "overlap.json", counts)
    write_json(METRICS / "confounders.json", read_json(CONFOUNDERS)["summary"])


def _each(rows: Mapping[str, Mapping[str, Any]], shorten: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    return {name: {method: shorten(row) for method, row in methods.items()} for name, methods in rows.items()}
