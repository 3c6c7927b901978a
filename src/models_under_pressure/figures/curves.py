"""ROC curves, and precision against recall, at every threshold."""

from collections.abc import Callable, Sequence
from typing import Any

import altair as alt
import numpy as np
from jaxtyping import Float

from models_under_pressure.evaluation import curves
from models_under_pressure.figures import ResultFigure, Results, Row, Rows, render, theme

MOST = 150
"""Points of one curve; a panel is 200 pixels wide."""
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 3], [4, 1, 1, 1], [1, 3], [10, 2, 2, 2, 2, 2])
"""Line patterns, which say again what colours say."""
_RECALL = 0.8
"""Recall at which the finding tells precision."""

Points = Float[np.ndarray, "points"]


def corners(x: Points, y: Points) -> list[tuple[float, float]]:
    """The points where a curve turns, at most `MOST`, rounded to 4 places, so that a figure in git stays small.

    Points that cannot be told apart at the resolution of `MOST` steps along the curve are thinned evenly by path
    length, never by rank: the steep start of a ROC curve, where the budget lies, keeps its corners.
    """
    x, y = np.round(x, 4), np.round(y, 4)
    before, after = np.diff(x)[:-1], np.diff(x)[1:]
    turns = before * np.diff(y)[1:] != after * np.diff(y)[:-1]
    keep = np.concatenate([[True], turns, [True]]) if len(x) > 2 else np.ones(len(x), dtype=bool)
    x, y = x[keep], y[keep]
    if len(x) > MOST:
        path = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        even = np.searchsorted(path, np.linspace(0.0, float(path[-1]), MOST))
        chosen = np.unique(np.concatenate([[0], np.minimum(even, len(x) - 1), [len(x) - 1]]))
        x, y = x[chosen], y[chosen]
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _roc(counts: curves.Counts) -> dict[str, Points]:
    return {"fpr": np.append(0.0, counts.fp / counts.negatives), "tpr": np.append(0.0, counts.tp / counts.positives)}


def _precision_recall(counts: curves.Counts) -> dict[str, Points]:
    return {"recall": counts.tp / counts.positives, "precision": counts.tp / (counts.tp + counts.fp)}


def _rows(results: Results, curve: Callable[[curves.Counts], dict[str, Points]]) -> Rows:
    """Corners of each curve, with their `rank` along it."""
    found: Rows = []
    for scores, origin in results.ranked():
        axes = curve(curves.count(curves.rank(scores.logits, scores.labels)))
        points = enumerate(corners(*axes.values()))
        found += [{**origin, **dict(zip(axes, point, strict=True)), "rank": rank} for rank, point in points]
    return found


def chart(rows: Sequence[Row], results: Results) -> alt.ConcatChart:
    """A panel per dataset; the upright line is the false positive budget, the diagonal is chance."""
    return _panels(
        rows,
        ("fpr", "False positive rate"),
        ("tpr", "True positive rate"),
        "linear",
        lambda _: [theme.reference((0, 0), (1, 1)), theme.upright(results.budget)],
        title="ROC curves",
        subtitle=f"Dashed diagonal: chance. Dotted upright: budget of {results.percent} false alarms.",
    )


def precision_chart(rows: Sequence[Row], results: Results) -> alt.ConcatChart:
    """A panel per dataset; the level line is the precision of flagging everything."""
    return _panels(
        rows,
        ("recall", "Recall (true positive rate)"),
        ("precision", "Precision"),
        # Steps, because precision between two thresholds is that of the lower one, never their mean.
        "step-before",
        lambda row: [theme.reference(*((end, row["positives"] / row["n"]) for end in (0, 1)))],
        title="Precision and recall",
        subtitle=f"At the class mix of each dataset. Dashed: the share of {results.words.classes.positive} records, "
        "what flagging all gives.",
    )


FIGURES = {
    "roc": ResultFigure(
        rows=lambda results: _rows(results, _roc),
        chart=chart,
        finding=lambda rows, results: theme.lowest_to_highest(
            rows,
            lambda part: max(row["tpr"] for row in part if row["fpr"] <= results.budget),
            f"Within {results.percent} false alarms, {{probe}} finds {{low:.0%}} ({{lowest}}) to {{high:.0%}} "
            f"({{highest}}) of the {results.words.classes.positive} records.",
        ),
        template=lambda: _template(
            ("fpr", "False positive rate"), ("tpr", "True positive rate"), "linear", "ROC curves"
        ),
    ),
    "precision_recall": ResultFigure(
        rows=lambda results: _rows(results, _precision_recall),
        chart=precision_chart,
        finding=lambda rows, results: theme.lowest_to_highest(
            rows,
            lambda part: max(row["precision"] for row in part if row["recall"] >= _RECALL),
            f"Finding at least {_RECALL:.0%} of the {results.words.classes.positive} records, {{probe}} is right in "
            "{low:.0%} ({lowest}) to {high:.0%} ({highest}) of its alarms.",
        ),
        template=lambda: _template(
            ("recall", "Recall"), ("precision", "Precision"), "step-before", "Precision and recall"
        ),
    ),
}


def _panels(
    rows: Sequence[Row],
    x: tuple[str, str],
    y: tuple[str, str],
    interpolate: Any,
    marks: Callable[[Row], list[alt.Chart]],
    *,
    title: str,
    subtitle: str,
) -> alt.ConcatChart:
    """A panel per dataset, its curves over the marks."""
    probes = theme.named(rows)
    dashes = alt.Scale(domain=probes, range=[_DASHES[number % len(_DASHES)] for number in range(len(probes))])
    drawn: list[Any] = []
    for part in theme.split(rows, "dataset").values():
        base = theme.inline(part, "probe", "rank", x[0], y[0])
        line = base.mark_line(interpolate=interpolate, strokeWidth=1.8, clip=True).encode(
            x=theme.share_axis(*x, alt.X),
            y=theme.share_axis(*y, alt.Y),
            order="rank:Q",
            color=theme.colour_by("probe", probes),
            strokeDash=alt.StrokeDash("probe:N", title="Monitor", scale=dashes, sort=probes),
        )
        drawn.append(theme.titled(alt.layer(*marks(part[0]), line), part[0]))
    return theme.panels(drawn, title=title, subtitle=subtitle)


def _template(x: tuple[str, str], y: tuple[str, str], interpolate: Any, title: str) -> Any:
    """A panel per dataset and probe, a line per revision."""
    line = render.template().mark_line(interpolate=interpolate, strokeWidth=1.6)
    line = line.encode(
        x=render.template_share(*x, alt.X),
        y=render.template_share(*y, alt.Y),
        order="rank:Q",
        color=render.template_colour(),
        strokeDash=alt.StrokeDash("rev:N", title="Revision"),
    )
    return render.template_grid(line, title)
