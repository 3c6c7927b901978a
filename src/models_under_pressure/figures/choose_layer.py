"""AUROC of a probe by the layer that it reads."""

from typing import Any

import altair as alt

from models_under_pressure.evaluation.rows import LayerChoice
from models_under_pressure.figures import ExperimentFigure, theme


def chart(found: LayerChoice) -> alt.LayerChart:
    """A line through the layers with intervals, each fold as a small point, the chosen layer marked."""
    rows = found["layers"]
    base = theme.inline(rows).encode(
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
    each = [{"layer": row["layer"], "fold": value} for row in rows for value in row["auroc_of_each"]]
    folds = theme.inline(each).mark_point(filled=True, size=18, color=theme.COLOURS[6], opacity=0.8, xOffset=7)
    folds = folds.encode(x="layer:Q", y="fold:Q")
    low = alt.Y("auroc_low:Q", title="Cross-validated AUROC", scale=scale)
    bars = base.mark_rule(strokeWidth=2, color=theme.COLOURS[0]).encode(y=low, y2="auroc_high:Q")
    point = alt.OverlayMarkDef(size=60, filled=True, color=theme.COLOURS[0])
    line = base.mark_line(color=theme.COLOURS[0], point=point).encode(y="auroc:Q")
    chosen = theme.inline([{"layer": found["layer"], "name": f"chosen: {found['layer']}"}]).encode(x="layer:Q")
    rule = chosen.mark_rule(strokeDash=[4, 4], color=theme.MUTED)
    label = chosen.mark_text(align="left", dx=5, baseline="top", color=theme.MUTED, fontSize=12)
    label = label.encode(y=alt.value(2), text="name:N")
    return theme.themed(
        theme.panel(rule, folds, bars, line, label, width=520, height=280),
        title=f"Which layer: {found['probe']} probe on the training prompts",
        subtitle=[
            f"Mean over {rows[0]['folds']} folds of whole groups, n = {rows[0]['n']:,}. Bar: 95 % interval. "
            "Grey: single folds.",
            f"Rule: {found['rule'].replace('_', ' ')}.",
        ],
    )


def finding(found: LayerChoice) -> str:
    """The layer chosen, and its AUROC."""
    row = next(row for row in found["layers"] if row["layer"] == found["layer"])
    rule = found["rule"].replace("_", " ")
    return f"Layer {found['layer']} is chosen (rule: {rule}): cross-validated AUROC {theme.estimate(row)}."


def summary(found: LayerChoice) -> dict[str, Any]:
    """The layer chosen, and AUROC of every layer."""
    return {"chosen": found["layer"]} | {f"layer_{row['layer']}": row["auroc"] for row in found["layers"]}


FIGURES = {"choose_layer": ExperimentFigure("choose_layer.json", chart, finding, summary)}
