"""Stage `summarise`: gather what git tracks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from models_under_pressure.files import read_json, write_json
from models_under_pressure.stages.paths import CONFOUNDERS, OVERLAPS, RESULTS

METRICS = Path("metrics")


def run(*, datasets: Mapping[str, str], probes: Sequence[str]) -> None:
    """Write evaluate.json, summary.json, overlap.json and confounders.json to metrics/.

    Args:
        datasets: dataset -> what it is for.
        probes: names of the probes.
    """
    evaluated = {name: read_json(RESULTS / "evaluate" / f"{name}.json") for name in datasets}
    write_json(METRICS / "evaluate.json", evaluated)
    write_json(METRICS / "summary.json", _means(evaluated, datasets, probes))
    overlaps: dict[str, dict[str, Any]] = read_json(OVERLAPS)
    counts = {
        name: {"pairs": len(found["pairs"]), "rows": sum(found["rows"].values())} for name, found in overlaps.items()
    }
    write_json(METRICS / "overlap.json", counts)
    write_json(METRICS / "confounders.json", read_json(CONFOUNDERS)["summary"])


def _means(
    evaluated: Mapping[str, Mapping[str, Mapping[str, float]]], datasets: Mapping[str, str], probes: Sequence[str]
) -> dict[str, dict[str, float]]:
    return {
        f"mean_{purpose}": {
            probe: round(fmean(evaluated[name][probe]["auroc"] for name in datasets if datasets[name] == purpose), 4)
            for probe in probes
        }
        for purpose in sorted(set(datasets.values()))
    }
