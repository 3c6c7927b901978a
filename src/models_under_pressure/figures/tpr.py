"""True positive rate within a false positive budget, over probes and datasets (McKenzie et al. 2025, figure 12)."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.evaluation.report import percent as metric_name
from models_under_pressure.figures.auroc import forest
from models_under_pressure.figures.panels import Row, percent


def rows(metrics: Mapping[str, Mapping[str, Row]], purposes: Mapping[str, str], budget: float) -> list[dict[str, Any]]:
    """One row per dataset and name, in the order of `purposes`; without `tpr` where one class is missing."""
    name = f"tpr_at_{metric_name(budget)}_fpr"
    ends = {"tpr": name, "tpr_low": f"{name}_low", "tpr_high": f"{name}_high"}
    return [
        {"dataset": dataset, "purpose": purpose, "probe": probe, "n": row["n"], "positives": row["positives"]}
        | {end: row[key] for end, key in ends.items() if key in row}
        for dataset, purpose in purposes.items()
        for probe, row in metrics.get(dataset, {}).items()
    ]


def chart(rows: Sequence[Row], *, budget: float) -> alt.VConcatChart:
    """A line per dataset and probe: the interval as a bar, the estimate as a point, the budget dashed."""
    return forest(
        rows,
        "tpr",
        axis=f"True positive rate at {percent(budget)} false positives",
        scale=alt.Scale(domain=[0.0, 1.0], nice=False),
        level=budget,
        title=f"True positives within {percent(budget)} false positives",
        told=[
            "Point: the best threshold that keeps the budget on this dataset, never interpolated. Dashed: chance.",
            "Bar: exact 95 % interval; it starts at 0 where a dataset has too few low-stakes records to bound it.",
        ],
    )
