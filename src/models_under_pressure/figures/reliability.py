"""Reliability diagram: how often what is forecast comes true."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.evaluation.intervals import clopper_pearson
from models_under_pressure.evaluation.metrics import ece, reliability
from models_under_pressure.figures import ResultFigure, Results, Row, Rows, render, theme

_OBSERVED = "Observed share of high stakes"
_FIELDS = ("probe", "forecast", "observed", "low", "high", "count", "ece")


def rows(results: Results) -> Rows:
    """Bins that hold records: `forecast`, `observed` with its exact interval `low` to `high`, `count`, `ece`."""
    found: Rows = []
    for scores, origin in results.ranked():
        error = round(ece(scores.probabilities, scores.labels, results.bins), 4)
        for part in reliability(scores.probabilities, scores.labels, results.bins):
            interval = clopper_pearson(part.positives, part.n)
            numbers = {"forecast": part.forecast, "observed": part.observed, "low": interval.low, "high": interval.high}
            rounded = {name: round(number, 4) for name, number in numbers.items()}
            found.append({**origin, **rounded, "count": part.n, "ece": error})
    return found


def reliability_layers(base: alt.Chart, shape: alt.Shape) -> list[alt.Chart]:
    """Bins of one panel over the diagonal, on which forecasts are calibrated."""
    observed = theme.share_axis("observed", _OBSERVED, alt.Y)
    low = alt.Y("low:Q", title=_OBSERVED)
    bar, line = {"opacity": 0.35}, {"strokeWidth": 1.2, "opacity": 0.7}
    marks = theme.joined_bars(base, low, observed, "high", size=45, shape=shape, bar=bar, line=line)
    return [theme.reference((0, 0), (1, 1)), *marks]


def chart(rows: Sequence[Row], _: Results) -> alt.ConcatChart:
    """A panel per dataset; points on the diagonal are calibrated, below it too sure of high stakes."""
    probes = theme.named(rows)
    drawn: list[Any] = []
    for part in theme.split(rows, "dataset").values():
        base = theme.inline(part, *_FIELDS).encode(
            x=theme.share_axis("forecast", "Mean forecast in bin", alt.X),
            color=theme.colour_by("probe", probes, legend=alt.Legend(symbolOpacity=1, symbolStrokeWidth=0)),
            tooltip=["probe:N", "forecast:Q", "observed:Q", "low:Q", "high:Q", "count:Q", "ece:Q"],
        )
        drawn.append(theme.titled(alt.layer(*reliability_layers(base, theme.shape_by("probe", probes))), part[0]))
    return theme.panels(
        drawn,
        title="Reliability",
        subtitle="Bins of equal width. Upright bars: exact 95 % interval, records as independent. Dashed: calibrated.",
    )


def finding(rows: Sequence[Row], _: Results) -> str:
    """Calibration error, lowest and highest over datasets."""
    return theme.lowest_to_highest(
        rows,
        lambda part: part[0]["ece"],
        "The calibration error of {probe} is {low:.2f} ({lowest}) to {high:.2f} ({highest}).",
    )


def template() -> Any:
    """A panel per dataset and probe, points with intervals per revision."""
    base = render.template().encode(
        x=render.template_share("forecast", "Mean forecast", alt.X), color=render.template_colour()
    )
    low, observed = (render.template_share(field, "Observed share", alt.Y) for field in ("low", "observed"))
    bars = base.mark_rule(opacity=0.4).encode(y=low, y2="high:Q")
    points = base.mark_point(filled=True, size=40, opacity=1).encode(y=observed, shape=render.template_shape())
    return render.template_grid(alt.layer(bars, points), "Reliability")


FIGURES = {"reliability": ResultFigure(rows, chart, finding, template)}
