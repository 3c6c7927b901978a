"""AUROC of a probe by the layer that it reads."""

from collections.abc import Mapping
from typing import Any

import altair as alt

from models_under_pressure.figures.panels import inline
from models_under_pressure.figures.theme import COLOURS, MUTED, themed


def chart(found: Mapping[str, Any]) -> alt.LayerChart:
    """A line through the layers with intervals, each fold as a small point, the chosen layer marked.

    `found` is what the stage `choose_layer` writes.
    """
    rows = found["layers"]
    base = inline(rows).encode(
        x=alt.X(
            "layer:Q",
            title="Layer (decoder block, from 0)",
            axis=alt.Axis(tickMinStep=1),
            scale=alt.Scale(nice=False, padding=12),
        ),
        tooltip=["layer:Q", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "accuracy:Q", "n:Q"],
    )
    lowest = min(min(row["auroc_low"], *row["auroc_of_each"]) for row in rows)
    scale = alt.Scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False, nice=False)
    folds = (
        inline([{"layer": row["layer"], "fold": value} for row in rows for value in row["auroc_of_each"]])
        .mark_point(filled=True, size=18, color=COLOURS[6], opacity=0.8, xOffset=7)
        .encode(x="layer:Q", y="fold:Q")
    )
    bars = base.mark_rule(strokeWidth=2, color=COLOURS[0]).encode(
        y=alt.Y("auroc_low:Q", title="Cross-validated AUROC", scale=scale), y2="auroc_high:Q"
    )
    line = base.mark_line(color=COLOURS[0], point=alt.OverlayMarkDef(size=60, filled=True, color=COLOURS[0])).encode(
        y="auroc:Q"
    )
    chosen = inline([{"layer": found["layer"], "name": f"chosen: {found['layer']}"}]).encode(x="layer:Q")
    rule = chosen.mark_rule(strokeDash=[4, 4], color=MUTED)
    label = chosen.mark_text(align="left", dx=5, baseline="top", color=MUTED, fontSize=12).encode(
        y=alt.value(2), text="name:N"
    )
    return themed(
        alt.layer(rule, folds, bars, line, label).properties(width=520, height=280),
        title=f"Which layer: {found['probe']} probe on the training prompts",
        subtitle=[
            f"Mean over {rows[0]['folds']} folds of whole groups, n = {rows[0]['n']:,}. Bar: 95 % interval. "
            "Grey: single folds.",
            f"Rule: {found['rule'].replace('_', ' ')}.",
        ],
    )
