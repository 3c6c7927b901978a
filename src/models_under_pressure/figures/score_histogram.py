"""How the scores of both classes are distributed."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from models_under_pressure.evaluation.metrics import threshold_at_fpr
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.figures.outline import counted, of_two_classes
from models_under_pressure.figures.panels import (
    Row,
    inline,
    paired_columns,
    panels,
    percent,
    share_axis,
    split,
    titled,
    upright,
)
from models_under_pressure.figures.theme import COLOURS

BINS = 20
CLASSES = ("low-stakes", "high-stakes")


def rows(lists: Sequence[ScoreList], *, budget: float = 0.01) -> list[dict[str, Any]]:
    """Share of each class in the bins of probability that hold some of it.

    Columns: `dataset`, `probe`, `label`, `low`, `high`, `share`, `count`.

    `threshold` is the smallest probability flagged when the budget is kept (over 1: nothing is).
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    found = []
    for scores in of_two_classes(lists):
        threshold = min(threshold_at_fpr(scores.probabilities, scores.labels, budget), 1.01)
        for label, members in zip(CLASSES, (~scores.labels, scores.labels), strict=True):
            counts, _ = np.histogram(scores.probabilities[members], edges)
            found += [
                counted(scores)
                | {
                    "label": label,
                    "low": round(float(edges[number]), 4),
                    "high": round(float(edges[number + 1]), 4),
                    "count": int(count),
                    "share": round(float(count / members.sum()), 4),
                    "threshold": round(threshold, 4),
                }
                for number, count in enumerate(counts)
                if count
            ]
    return found


def chart(rows: Sequence[Row], *, budget: float = 0.01) -> alt.ConcatChart:
    """A panel per dataset and probe; low-stakes above the axis, high-stakes below, so that neither hides the other."""
    top = max((row["share"] for row in rows), default=1.0)
    colour = alt.Color(
        "label:N", title="Label", sort=list(CLASSES), scale=alt.Scale(domain=list(CLASSES), range=list(COLOURS[:2]))
    )
    drawn = []
    for part in split(rows, "dataset", "probe").values():
        signed = [row | {"bar": -row["share"] if row["label"] == CLASSES[1] else row["share"]} for row in part]
        bars = (
            inline(signed, "label", "low", "high", "bar", "count", "share")
            .mark_bar(stroke="white", strokeWidth=0.5)
            .encode(
                x=share_axis("low", "Probability of high stakes", alt.X),
                x2="high:Q",
                y=alt.Y(
                    "bar:Q",
                    title="Share of class",
                    scale=alt.Scale(domain=[-top, top], nice=True),
                    axis=alt.Axis(labelExpr="format(abs(datum.value), '.0%')", tickCount=5),
                ),
                y2=alt.Y2Datum(0),
                color=colour,
                tooltip=["label:N", "low:Q", "high:Q", "count:Q", alt.Tooltip("share:Q", format=".1%")],
            )
        )
        layers = [bars] if part[0]["threshold"] > 1 else [bars, upright(part[0]["threshold"])]
        drawn.append(titled(alt.layer(*layers), part[0], by_probe=True, height=140))
    return panels(
        drawn,
        title="Scores by label",
        subtitle=f"Dotted: lowest threshold that keeps {percent(budget)} false alarms; none where none does.",
        columns=paired_columns(rows),
    )
