"""Forest plot: AUROC with intervals, over probes and datasets."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.panels import inline
from models_under_pressure.figures.theme import MUTED, colour_scale, shape_scale, themed

Row = Mapping[str, Any]
"""One probe on one dataset: `dataset`, `probe`, `auroc`, `auroc_low`, `auroc_high`, `n`, and, to part the figure into
panels, `purpose` (dev or test)."""


def rows(metrics: Mapping[str, Mapping[str, Row]], purposes: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row per dataset and name, in the order of `purposes`; without `auroc` where one class is missing."""
    kept = ("n", "positives", "auroc", "auroc_low", "auroc_high")
    return [
        {"dataset": dataset, "purpose": purpose, "probe": probe, **{name: row[name] for name in kept if name in row}}
        for dataset, purpose in purposes.items()
        for probe, row in metrics.get(dataset, {}).items()
    ]


def chart(rows: Sequence[Row]) -> alt.VConcatChart:
    """A line per dataset and probe: the interval as a bar, the estimate as a point, chance dashed; a panel per purpose.

    Rows that have no `auroc` (one class is missing there) are named in the subtitle, never dropped in silence.
    """
    lowest = min([0.5, *(row["auroc_low"] for row in rows if "auroc" in row)])
    return forest(
        rows,
        "auroc",
        axis="AUROC",
        scale=alt.Scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False, nice=False),
        level=0.5,
        title="AUROC by dataset and monitor",
        told=["Point: estimate. Bar: 95 % grouped bootstrap interval. Dashed: chance."],
    )


def forest(
    rows: Sequence[Row], metric: str, *, axis: str, scale: alt.Scale, level: float, title: str, told: list[str]
) -> alt.VConcatChart:
    """One metric with its interval, a panel per purpose; `level` is dashed."""
    defined = [row for row in rows if metric in row]
    probes = list(dict.fromkeys(row["probe"] for row in defined))
    panels = [
        _panel(
            [row for row in defined if row.get("purpose") == purpose], probes, metric, axis, scale, level
        ).properties(
            title=alt.TitleParams(f"{purpose} datasets", anchor="start", frame="group", fontSize=13)
            if purpose
            else alt.Undefined
        )
        for purpose in dict.fromkeys(row.get("purpose") for row in defined)
    ]
    missing = sorted({row["dataset"] for row in rows if metric not in row})
    return themed(
        alt.vconcat(*panels, spacing=16),
        title=title,
        subtitle=[*told, *([f"Not shown, one class only: {', '.join(missing)}."] if missing else [])],
    )


def _panel(rows: Sequence[Row], probes: list[str], metric: str, axis: str, scale: alt.Scale, level: float) -> Any:
    names = list(dict.fromkeys(_name(row) for row in rows))
    colour = alt.Color("probe:N", title="Monitor", scale=colour_scale(probes), sort=probes)
    base = inline([dict(row) | {"name": _name(row)} for row in rows]).encode(
        y=alt.Y("name:N", title=None, sort=names).scale(paddingInner=0.3),
        yOffset=alt.YOffset("probe:N", sort=probes),
        color=colour,
        tooltip=[
            "dataset:N",
            "probe:N",
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in (metric, f"{metric}_low", f"{metric}_high")),
            "n:Q",
            "positives:Q",
        ],
    )
    bars = base.mark_rule(strokeWidth=2).encode(
        x=alt.X(f"{metric}_low:Q", title=axis, scale=scale, axis=alt.Axis(tickCount=10)), x2=f"{metric}_high:Q"
    )
    points = base.mark_point(filled=True, size=64, opacity=1).encode(
        x=f"{metric}:Q", shape=alt.Shape("probe:N", title="Monitor", scale=shape_scale(probes), sort=probes)
    )
    dashed = (
        alt.Chart(alt.InlineData(values=[{"level": level}]))
        .mark_rule(strokeDash=[4, 4], color=MUTED)
        .encode(x="level:Q")
    )
    step = alt.Step(max(13, 30 // max(len(probes), 1)), **{"for": "offset"})
    return alt.layer(dashed, bars, points).properties(width=520, height=step)


def _name(row: Row) -> str:
    return f"{row['dataset']} (n = {row['n']:,})"
