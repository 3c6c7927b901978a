"""AUROC of every method against what a token costs (McKenzie et al. 2025, figure 1)."""

from collections.abc import Sequence

import altair as alt

from models_under_pressure.figures.panels import Row, inline, powers_axis
from models_under_pressure.figures.theme import COLOURS, MUTED, themed

PURPOSE = "test"


def chart(rows: Sequence[Row]) -> alt.LayerChart:
    """One point per monitor: the mean over test sets.

    `rows` are those of `experiments.cascade`, of which the monitors alone are shown.
    """
    shown = [
        {**row, "cost": max(row["flops_per_token"], 1e-3)}
        for row in rows
        if row["dataset"] == "mean"
        and row["purpose"] == PURPOSE
        and "flops_per_token" in row
        and row["kind"] == "alone"
    ]
    lowest = min([0.5, *(row["auroc_low"] for row in shown)])
    base = inline(shown).encode(
        x=alt.X(
            "cost:Q",
            title="FLOPs per token, beyond what the monitored model computes anyway",
            scale=alt.Scale(type="log", nice=False, padding=110),
            axis=powers_axis([row["cost"] for row in shown], most=8),
        ),
        tooltip=["first:N", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "flops_per_token:Q", "n:Q"],
    )
    scale = alt.Scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False, nice=False)
    bars = base.mark_rule(strokeWidth=2, color=COLOURS[0]).encode(
        y=alt.Y("auroc_low:Q", title="AUROC", scale=scale), y2="auroc_high:Q"
    )
    points = base.mark_point(filled=True, size=80, opacity=1, color=COLOURS[0]).encode(y="auroc:Q")
    names = base.mark_text(align="left", dx=8, fontSize=12, color=MUTED).encode(y="auroc:Q", text="first:N")
    return themed(
        alt.layer(bars, points, names).properties(width=520, height=300),
        title="Methods by cost and AUROC",
        subtitle=f"Mean over {shown[0]['datasets']} {PURPOSE} sets, n = {shown[0]['n']:,}. Bars: 95 % interval.",
    )
