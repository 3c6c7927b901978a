"""Metrics averaged over datasets."""

from collections.abc import Mapping, Sequence

import numpy as np

from models_under_pressure.evaluation.estimate import Estimate


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

    `datasets` is their number, `n` and `positives` are sums. Datasets share no records, so that they are independent.

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
    shared = set.intersection(*(set(row) for row in rows))
    for name in sorted(name for name in shared if {f"{name}_low", f"{name}_high"} <= shared):
        mean = mean_estimate([Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"]) for row in rows])
        flat |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
    return {name: round(value, 4) for name, value in flat.items()}
