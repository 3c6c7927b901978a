"""Metrics averaged over datasets and seeds, and the few of them that are shown first."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import numpy as np

from models_under_pressure.evaluation.intervals import Estimate

_COUNTS = ("datasets", "n", "positives")
_SHARES = ("tokens", "flops", "flops_per_token", "sent_on")
"""What has no interval, and is averaged too."""


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of independent estimates, with the interval recovered from theirs.

    Each end lies as far from the mean as the root of the summed squares of the parts' distances to theirs, over their
    number (Zou and Donner 2008, "MOVER"): it needs no variances and keeps the asymmetry of intervals near 1.
    """
    values = np.array([estimate.value for estimate in estimates])
    down = values - np.array([estimate.low for estimate in estimates])
    up = np.array([estimate.high for estimate in estimates]) - values
    mean, count = float(values.mean()), len(values)
    return Estimate(mean, mean - float(np.sqrt(down @ down)) / count, mean + float(np.sqrt(up @ up)) / count)


def mean_over_datasets(rows: Sequence[Mapping[str, float | int]]) -> dict[str, float | int]:
    """Mean of each metric that every dataset has, each dataset counting alike, from `evaluate_scores` of each.

    `datasets` is their number, `n` and `positives` are sums; costs (`tokens` and `flops` of a record) are means too.
    Datasets share no records, so that they are independent.

    Raises:
        ValueError: there are no datasets.
    """
    if not rows:
        raise ValueError("a mean over datasets needs at least one")
    flat: dict[str, float | int] = {
        "datasets": len(rows),
        "n": sum(int(row["n"]) for row in rows),
        "positives": sum(int(row["positives"]) for row in rows),
    }
    shared = {name for name in rows[0] if all(name in row for row in rows)}
    for name in sorted(name for name in shared if {f"{name}_low", f"{name}_high"} <= shared):
        mean = mean_estimate([Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"]) for row in rows])
        flat |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
    flat |= {name: fmean(row[name] for row in rows) for name in _SHARES if name in shared}
    return {name: round(value, 4) for name, value in flat.items()}


def means_by_purpose(
    evaluated: Mapping[str, Mapping[str, Mapping[str, float | int]]], purposes: Mapping[str, str]
) -> dict[str, dict[str, dict[str, float | int]]]:
    """Purpose -> method -> `mean_over_datasets` of its datasets, from dataset -> method -> metric.

    A method that scored some datasets only has the mean of those; `datasets` tells their number.
    """
    found: dict[str, dict[str, dict[str, float | int]]] = {}
    for purpose in sorted(set(purposes.values())):
        rows: dict[str, list[Mapping[str, float | int]]] = {}
        for dataset in (name for name, one in purposes.items() if one == purpose):
            for method, row in evaluated.get(dataset, {}).items():
                rows.setdefault(method, []).append(row)
        found[purpose] = {method: mean_over_datasets(of_method) for method, of_method in rows.items()}
    return found


def mean_over_seeds(rows: Sequence[Mapping[str, float | int]]) -> dict[str, float | int]:
    """Mean of each metric over training seeds; with several, `auroc_seed_sd` is the spread that no interval holds."""
    means = {name: _mean([row[name] for row in rows]) for name in rows[0]}
    if len(rows) > 1 and "auroc" in means:
        means["auroc_seed_sd"] = round(stdev(row["auroc"] for row in rows), 4)
    return means


def headline(row: Mapping[str, float | int]) -> dict[str, float | int]:
    """What a reviewer compares of a mean: AUROC, and TPR at each budget."""
    return {name: value for name, value in row.items() if name == "auroc" or re.fullmatch(r"tpr_at_\w+_fpr", name)}


def intervals(row: Mapping[str, float | int]) -> dict[str, float | int]:
    """What git keeps of a row beside the metrics: counts, and the ranking metrics with their intervals.

    Only metrics that depend on the order of scores: on another processor the others differ in their last places.
    """
    return {name: value for name, value in row.items() if name in _COUNTS or name.startswith(("auroc", "tpr_at_"))}


def known_intervals(
    evaluated: Mapping[str, Mapping[str, Mapping[str, float | int]]],
    purposes: Mapping[str, str],
    contents: Mapping[str, str],
) -> dict[str, dict[str, object]]:
    """Dataset -> `purpose`, `content` (hash of its file) and `methods` with their `intervals`, as git keeps them."""
    return {
        name: {
            "purpose": purposes[name],
            "content": contents[name],
            "methods": {method: intervals(row) for method, row in methods.items()},
        }
        for name, methods in evaluated.items()
    }


def _mean(values: Sequence[float | int]) -> float | int:
    return values[0] if len(set(values)) == 1 else round(fmean(values), 4)
