"""Reliability diagram: how often what is forecast comes true."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.evaluation.intervals import clopper_pearson
from models_under_pressure.evaluation.metrics import ece, reliability
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.figures.outline import counted, of_two_classes
from models_under_pressure.figures.panels import Row, inline, panels, probe_colour, reference, share_axis, split, titled
from models_under_pressure.figures.theme import shape_scale

_OBSERVED = "Observed share of high stakes"
_FIELDS = ("probe", "forecast", "observed", "low", "high", "count", "ece")


def rows(lists: Sequence[ScoreList], *, bins: int = 10) -> list[dict[str, Any]]:
    """Bins that hold records: `forecast`, `observed` with its exact interval `low` to `high`, `count`, `ece`."""
    found = []
    for scores in of_two_classes(lists):
        error = round(ece(scores.probabilities, scores.labels, bins), 4)
        for part in reliability(scores.probabilities, scores.labels, bins):
            interval = clopper_pearson(part.positives, part.n)
            found.append(
                counted(scores)
                | {
                    "forecast": round(part.forecast, 4),
                    "observed": round(part.observed, 4),
                    "low": round(interval.low, 4),
                    "high": round(interval.high, 4),
                    "count": part.n,
                    "ece": error,
                }
            )
    return found


def chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per dataset; points on the diagonal are calibrated, below it too sure of high stakes."""
    colour = probe_colour(rows).legend(symbolOpacity=1, symbolStrokeWidth=0)
    probes = list(dict.fromkeys(row["probe"] for row in rows))
    shape = alt.Shape("probe:N", title="Monitor", scale=shape_scale(probes), sort=probes)
    drawn = []
    for part in split(rows, "dataset").values():
        base = inline(part, *_FIELDS).encode(
            x=share_axis("forecast", "Mean forecast in bin", alt.X),
            color=colour,
            tooltip=["probe:N", "forecast:Q", "observed:Q", "low:Q", "high:Q", "count:Q", "ece:Q"],
        )
        observed = share_axis("observed", _OBSERVED, alt.Y)
        bars = base.mark_rule(opacity=0.35).encode(y=alt.Y("low:Q", title=_OBSERVED), y2="high:Q")
        lines = base.mark_line(strokeWidth=1.2, opacity=0.7).encode(y=observed)
        points = base.mark_point(filled=True, size=45, opacity=1).encode(y=observed, shape=shape)
        perfect = reference([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
        drawn.append(titled(alt.layer(perfect, bars, lines, points), part[0]))
    return panels(
        drawn,
        title="Reliability",
        subtitle="Bins of equal width. Upright bars: exact 95 % interval, records as independent. Dashed: calibrated.",
    )
