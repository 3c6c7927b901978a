"""Forest plot: AUROC with intervals, over probes and datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import altair as alt

from models_under_pressure.figures.theme import INK, colour_scale, shape_scale, themed


@dataclass(frozen=True, slots=True)
class AurocRow:
    """AUROC of one probe on one dataset, with the ends of its 95 % interval."""

    dataset: str
    probe: str
    auroc: float
    low: float
    high: float
    n: int
    positives: int


def rows_from_metrics(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[AurocRow]:
    """Rows of `metrics/evaluate.json` (dataset -> probe -> metric); entries that have no AUROC are left out."""
    return [
        AurocRow(
            dataset, probe, found["auroc"], found["auroc_low"], found["auroc_high"], found["n"], found["positives"]
        )
        for dataset, probes in metrics.items()
        for probe, found in probes.items()
        if "auroc" in found
    ]


def chart(rows: Sequence[AurocRow]) -> alt.LayerChart:
    """One line per dataset and probe: the interval as a bar, the estimate as a point, chance as a dashed line."""
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    probes = list(dict.fromkeys(row.probe for row in rows))
    sizes = {row.dataset: row.n for row in rows}
    data = [asdict(row) | {"name": f"{row.dataset} (n = {sizes[row.dataset]:,})"} for row in rows]
    lowest = min([0.5, *(row.low for row in rows)])
    height = alt.Step(max(14, 28 // max(len(probes), 1)), **{"for": "offset"})
    base = alt.Chart(alt.InlineData(values=data)).encode(
        y=alt.Y("name:N", title=None, sort=[f"{name} (n = {sizes[name]:,})" for name in datasets]).scale(
            paddingInner=0.35
        ),
        yOffset=alt.YOffset("probe:N", sort=probes),
        color=alt.Color("probe:N", title="Probe", scale=colour_scale(probes), sort=probes),
        tooltip=[
            alt.Tooltip("dataset:N"),
            alt.Tooltip("probe:N"),
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("auroc", "low", "high")),
            alt.Tooltip("n:Q"),
            alt.Tooltip("positives:Q"),
        ],
    )
    axis = alt.X("low:Q", title="AUROC").scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False)
    bars = base.mark_rule(strokeWidth=2).encode(x=axis, x2="high:Q")
    points = base.mark_point(filled=True, size=64, opacity=1).encode(
        x="auroc:Q", shape=alt.Shape("probe:N", title="Probe", scale=shape_scale(probes), sort=probes)
    )
    chance = alt.Chart(alt.InlineData(values=[{"x": 0.5}])).mark_rule(strokeDash=[4, 4], color=INK).encode(x="x:Q")
    return themed(
        alt.layer(chance, bars, points).properties(width=520, height=height),
        title="AUROC by dataset and probe",
        subtitle="Points: estimate. Bars: 95 % grouped bootstrap interval. Dashed: chance.",
    )
