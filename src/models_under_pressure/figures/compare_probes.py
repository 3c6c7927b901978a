"""Probe families compared: a panel per purpose for the mean over datasets, and one per dataset."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.panels import Row, inline, split
from models_under_pressure.figures.theme import COLOURS, MUTED, themed


def chart(rows: Sequence[Row]) -> alt.VConcatChart:
    """AUROC with its interval, and a tick for each seed; probes by falling mean over the test sets.

    `rows` are those of `experiments.compare_probes`.
    """
    purposes = list(dict.fromkeys(row["purpose"] for row in rows))
    means = [row for row in rows if row["dataset"] == "mean"]
    last = [row for row in means if row["purpose"] == purposes[-1]]
    order = [row["probe"] for row in sorted(last, key=lambda row: -row["auroc"])]
    lowest = min([0.5, *(row["auroc_low"] for row in rows)])
    scale = alt.Scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False, nice=False)
    overall = [
        _panel(part, order, scale, f"mean of {part[0]['datasets']} {purpose} sets").properties(width=330)
        for (purpose,), part in split(means, "purpose").items()
    ]
    each = [
        _panel(part, order, scale, name).properties(width=210)
        for (name,), part in split([row for row in rows if row["dataset"] != "mean"], "dataset").items()
    ]
    seeds = rows[0]["seeds"]
    return themed(
        alt.vconcat(alt.hconcat(*overall, spacing=24), alt.concat(*each, columns=3, spacing=20), spacing=20),
        title="AUROC of probe families",
        subtitle=[
            f"Point: mean over {seeds} seeds. Bar: 95 % interval over records and seeds. Small ticks: single seeds.",
            f"Dashed: chance. Probes by falling mean over the {purposes[-1]} sets.",
        ],
    )


def _panel(rows: Sequence[Row], order: list[str], scale: alt.Scale, name: str) -> Any:
    base = inline(rows).encode(
        y=alt.Y("probe:N", title=None, sort=order),
        tooltip=["dataset:N", "probe:N", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "tpr_at_1pct_fpr:Q", "n:Q"],
    )
    x = alt.X("auroc_low:Q", title="AUROC", scale=scale, axis=alt.Axis(tickMinStep=0.1))
    bars = base.mark_rule(strokeWidth=2, color=COLOURS[0]).encode(x=x, x2="auroc_high:Q")
    points = base.mark_point(filled=True, size=50, opacity=1, color=COLOURS[0]).encode(x="auroc:Q")
    single = [{"probe": row["probe"], "auroc": value} for row in rows for value in row.get("auroc_of_each", ())]
    ticks = (
        inline(single)
        .mark_tick(thickness=1.5, size=8, color=COLOURS[1], yOffset=5)
        .encode(x="auroc:Q", y=alt.Y("probe:N", sort=order))
    )
    chance = inline([{"x": 0.5}]).mark_rule(strokeDash=[4, 4], color=MUTED).encode(x="x:Q")
    title = alt.TitleParams(f"{name} (n = {rows[0]['n']:,})", anchor="start", frame="group", fontSize=13)
    return alt.layer(chance, *([ticks] if single else []), bars, points).properties(title=title, height=alt.Step(17))
