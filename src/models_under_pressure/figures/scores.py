"""How the scores of both classes lie: histograms, and what a threshold that keeps the false positive budget flags."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np

from models_under_pressure.evaluation.metrics import threshold_at_fpr
from models_under_pressure.figures import ResultFigure, Results, Row, Rows, render, theme

BINS = 20


def histogram_rows(results: Results) -> Rows:
    """Share of each class in the bins of probability that hold some of it: `label`, `low`, `high`, `share`, `count`.

    `threshold` is the smallest probability flagged when the budget is kept (over 1: nothing is).
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    ends = [{"low": round(low, 4), "high": round(high, 4)} for low, high in pairwise(edges.tolist())]
    found: Rows = []
    for scores, origin in results.ranked():
        threshold = min(threshold_at_fpr(scores.probabilities, scores.labels, results.budget), 1.01)
        for label, members in zip(results.words.labels, (~scores.labels, scores.labels), strict=True):
            told = {**origin, "label": label, "threshold": round(threshold, 4)}
            counts, _ = np.histogram(scores.probabilities[members], edges)
            for bin_, count in zip(ends, counts.tolist(), strict=True):
                if count:
                    found.append({**told, **bin_, "count": count, "share": round(count / int(members.sum()), 4)})
    return found


def histogram_chart(rows: Sequence[Row], results: Results) -> alt.ConcatChart:
    """A panel per dataset and probe; negative class above the axis, positive below, so that neither hides the other."""
    top = max((row["share"] for row in rows), default=1.0)
    y = alt.Y(
        "bar:Q",
        title="Share of class",
        scale=alt.Scale(domain=[-top, top], nice=True),
        axis=alt.Axis(labelExpr="format(abs(datum.value), '.0%')", tickCount=5),
    )
    drawn: list[Any] = []
    for part in theme.split(rows, "dataset", "probe").values():
        signed = [
            {**row, "bar": -row["share"] if row["label"] == results.words.classes.positive else row["share"]}
            for row in part
        ]
        base = theme.inline(signed, "label", "low", "high", "bar", "count", "share")
        bars = base.mark_bar(stroke="white", strokeWidth=0.5).encode(
            x=theme.share_axis("low", f"Probability of {results.words.classes.positive_noun}", alt.X),
            x2="high:Q",
            y=y,
            y2=alt.Y2Datum(0),
            color=theme.colour_by("label", results.words.labels, "Label"),
            tooltip=theme.tips("label:N", "low:Q", "high:Q", "count:Q", alt.Tooltip("share:Q", format=".1%")),
        )
        layers = [bars] if part[0]["threshold"] > 1 else [bars, theme.upright(part[0]["threshold"])]
        drawn.append(theme.titled(alt.layer(*layers), part[0], by_probe=True, height=140))
    return theme.panels(
        drawn,
        title="Scores by label",
        subtitle=f"Dotted: lowest threshold that keeps {results.percent} false alarms; none where none does.",
        columns=theme.paired_columns(rows),
    )


def histogram_finding(rows: Sequence[Row], results: Results) -> str:
    """Records on the wrong side of 0.5, all datasets together."""
    negative, positive = results.words.labels

    def told(probe: str, part: list[Row]) -> str:
        wrong = {
            label: sum(row["count"] for row in own if (row["low"] >= 0.5) == (label == negative))
            / sum(row["count"] for row in own)
            for (label,), own in theme.split(part, "label").items()
        }
        return (
            f"{probe} puts {wrong[positive]:.0%} of {positive} records below one half, and "
            f"{wrong[negative]:.0%} of {negative} records above."
        )

    return theme.of_each_probe(rows, told)


def histogram_template() -> Any:
    """The positive class below the axis, bars that show those of the other revision.

    The template is one for all concepts: the first row of each panel is of the negative class.
    """
    first: Any = {"op": "first_value", "field": "label", "as": "negative"}
    signed = render.template().transform_window([first], frame=[None, None], groupby=["rev", "dataset", "probe"])
    signed = signed.transform_calculate(bar="datum.label == datum.negative ? datum.share : -datum.share")
    y = alt.Y(
        "bar:Q",
        title="Share: negative class up, positive down",
        stack=None,
        axis=alt.Axis(labelExpr="format(abs(datum.value), '.0%')", tickCount=5),
    )
    bars = signed.mark_bar(opacity=0.45).encode(
        x=render.template_share("low", "Probability of the positive class", alt.X),
        x2="high:Q",
        y=y,
        y2=alt.Y2Datum(0),
        color=render.template_colour(),
        tooltip=theme.tips("rev:N", "label:N", "low:Q", "high:Q", "count:Q", "share:Q"),
    )
    return render.template_grid(bars, "Scores by label")


def confusion_rows(results: Results) -> Rows:
    """Four cells per score list: `label`, `flagged`, `count`, `share` of the label's records."""
    found: Rows = []
    for scores, origin in results.ranked():
        flagged = scores.logits >= threshold_at_fpr(scores.logits, scores.labels, results.budget)
        for label, members in zip(results.words.labels[::-1], (scores.labels, ~scores.labels), strict=True):
            for verdict, side in (("flagged", flagged), ("passed", ~flagged)):
                count = int((members & side).sum())
                share = round(count / int(members.sum()), 4)
                found.append({**origin, "label": label, "flagged": verdict, "count": count, "share": share})
    return found


def confusion_chart(rows: Sequence[Row], results: Results) -> alt.ConcatChart:
    """A panel per dataset and probe; cells say the count and the share of the row."""
    drawn: list[Any] = []
    for part in theme.split(rows, "dataset", "probe").values():
        cells = [{**row, "text": f"{row['count']:,}", "percent": f"{row['share']:.1%}"} for row in part]
        base = theme.inline(cells).encode(
            x=alt.X("flagged:N", title=None, axis=alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False)),
            y=alt.Y("label:N", title=None, axis=alt.Axis(ticks=False, domain=False)),
        )
        shade = alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=list(theme.BLUES)), legend=None)
        layers = alt.layer(
            base.mark_rect(stroke="white", strokeWidth=2).encode(color=shade),
            base.mark_text(fontSize=15, dy=-7, color=theme.INK).encode(text="text:N"),
            base.mark_text(fontSize=11, dy=10, color=theme.INK).encode(text="percent:N"),
        )
        drawn.append(theme.titled(layers, part[0], by_probe=True, width=170, height=110))
    return theme.panels(
        drawn,
        title="Confusion at the threshold",
        subtitle=f"Each threshold keeps its dataset's false alarms within {results.percent}. Shares are of the row.",
        columns=theme.paired_columns(rows),
    )


def confusion_finding(rows: Sequence[Row], results: Results) -> str:
    """Alarms, all datasets together."""

    def told(probe: str, part: list[Row]) -> str:
        counts: dict[str, str] = {}
        for (label,), own in theme.split(part, "label").items():
            alarms = sum(row["count"] for row in own if row["flagged"] == "flagged")
            counts[label] = f"{alarms:,} of {sum(row['count'] for row in own):,} {label}"
        return (
            f"Keeping {results.percent} false alarms in each dataset, {probe} flags "
            f"{counts[results.words.classes.positive]} and {counts[results.words.classes.negative]} records."
        )

    return theme.of_each_probe(rows, told)


def confusion_template() -> Any:
    """A panel per dataset and probe, the share of each label that is flagged."""
    base = render.template_bars(alt.Y("label:N", title=None), "label:N", "count:Q", "share:Q", "n:Q")
    base = base.encode(x=render.template_share("share", "Share flagged", alt.X))
    base = base.transform_filter("datum.flagged == 'flagged'")
    return render.template_grid(base.mark_bar(height=12), "Flagged at the threshold", height=90)


FIGURES = {
    "score_histogram": ResultFigure(histogram_rows, histogram_chart, histogram_finding, histogram_template),
    "confusion": ResultFigure(confusion_rows, confusion_chart, confusion_finding, confusion_template),
}
