"""Calibration of every monitor before and after recalibration: errors, reliability, and agreement with the scale."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.core.concept import PAPER, Words
from models_under_pressure.evaluation.metrics import ece, reliability
from models_under_pressure.evaluation.rows import BinRow, Calibration, ErrorRow, Fitted, Recalibrated, StakesRow
from models_under_pressure.figures import ExperimentFigure, ResultFigure, Results, Row, Rows, render, theme

_BIN_FIELDS = ("probe", "forecast", "observed", "low", "high", "count", "ece")
_PURPOSE = "test"
_NAMES = {"none": "as scored", "platt": "Platt", "isotonic": "isotonic", "temperature": "temperature"}
_MAPS = list(_NAMES.values())
_ERRORS = {"brier": "Brier score", "ece": "ECE, bins of equal width", "adaptive_ece": "ECE, bins of equal mass"}
_COLUMNS = 3


def reliability_rows(results: Results) -> Rows:
    """Bins that hold records: `forecast`, `observed` with its exact interval `low` to `high`, `count`, `ece`."""
    found: Rows = []
    for scores, origin in results.ranked():
        error = round(ece(scores.probabilities, scores.labels, results.bins), 4)
        for part in reliability(scores.probabilities, scores.labels, results.bins):
            found.append({**origin, **part.columns(), "count": part.n, "ece": error})
    return found


def reliability_layers(base: alt.Chart, shape: alt.Shape, words: Words) -> list[alt.Chart]:
    """Bins of one panel over the diagonal, on which forecasts are calibrated."""
    title = f"Observed share of {words.classes.positive_noun}"
    observed = theme.share_axis("observed", title, alt.Y)
    low = alt.Y("low:Q", title=title)
    bar, line = {"opacity": 0.35}, {"strokeWidth": 1.2, "opacity": 0.7}
    marks = theme.joined_bars(base, low, observed, "high", size=45, shape=shape, bar=bar, line=line)
    return [theme.reference((0, 0), (1, 1)), *marks]


def reliability_chart(rows: Sequence[Row], results: Results) -> alt.ConcatChart:
    """A panel per dataset; points on the diagonal are calibrated, below it too sure of the positive class."""
    probes = theme.named(rows)
    drawn: list[Any] = []
    for part in theme.split(rows, "dataset").values():
        base = theme.inline(part, *_BIN_FIELDS).encode(
            x=theme.share_axis("forecast", "Mean forecast in bin", alt.X),
            color=theme.colour_by("probe", probes, legend=alt.Legend(symbolOpacity=1, symbolStrokeWidth=0)),
            tooltip=theme.tips("probe:N", "forecast:Q", "observed:Q", "low:Q", "high:Q", "count:Q", "ece:Q"),
        )
        drawn.append(
            theme.titled(alt.layer(*reliability_layers(base, theme.shape_by("probe", probes), results.words)), part[0])
        )
    return theme.panels(
        drawn,
        title="Reliability",
        subtitle="Bins of equal width. Upright bars: exact 95 % interval, records as independent. Dashed: calibrated.",
    )


def reliability_finding(rows: Sequence[Row], _: Results) -> str:
    """Calibration error, lowest and highest over datasets."""
    return theme.lowest_to_highest(
        rows,
        lambda part: part[0]["ece"],
        "The calibration error of {probe} is {low:.2f} ({lowest}) to {high:.2f} ({highest}).",
    )


def reliability_template() -> Any:
    """A panel per dataset and probe, points with intervals per revision."""
    base = render.template().encode(
        x=render.template_share("forecast", "Mean forecast", alt.X), color=render.template_colour()
    )
    low, observed = (render.template_share(field, "Observed share", alt.Y) for field in ("low", "observed"))
    bars = base.mark_rule(opacity=0.4).encode(y=low, y2="high:Q")
    points = base.mark_point(filled=True, size=40, opacity=1).encode(y=observed, shape=render.template_shape())
    return render.template_grid(alt.layer(bars, points), "Reliability")


def chart(found: Calibration, words: Words = PAPER) -> alt.VConcatChart:
    """Brier score and calibration errors, means over the test sets; below, reliability over all test records."""
    errors = _mean_errors(found)
    bins = [row for row in found["bins"] if _is_pooled(row) and row["binning"] == "equal width"]
    above = [_error_panel(errors, name) for name in _ERRORS]
    below = [_reliability_panel(part, words) for part in theme.split(bins, "monitor").values()]
    return theme.themed(
        alt.vconcat(
            alt.concat(*above, columns=_COLUMNS, spacing=24),
            alt.concat(*below, columns=_COLUMNS, spacing=24),
            spacing=28,
        ),
        title="Calibration before and after recalibration",
        subtitle=[
            f"Above: mean over {errors[0].get('datasets')} {_PURPOSE} sets (n = {errors[0]['n']:,}), lower is better; "
            "bars: 95 % interval (grouped bootstrap, mean by MOVER).",
            f"Below: all {_PURPOSE} records together; upright bars: exact 95 % interval, records as independent; "
            "dashed: calibrated.",
            _fitted(found["monitors"]),
        ],
    )


def finding(found: Calibration, words: Words = PAPER) -> str:
    """Expected calibration error of every monitor and map."""
    told: list[str] = []
    for (monitor,), part in theme.split(_mean_errors(found), "monitor").items():
        errors = [f"{row['recalibration'].replace('none', 'as scored')} {row['ece']:.2f}" for row in part]
        told.append(f"{monitor} {', '.join(errors)}")
    return f"Expected calibration error, mean over the test sets: {'; '.join(told)}."


def summary(found: Calibration) -> dict[str, Any]:
    """Error of the best map of each monitor, to the places that are the same on every processor."""
    return {
        monitor: round(min(row["ece"] for row in part), 2)
        for (monitor,), part in theme.split(_mean_errors(found), "monitor").items()
    }


def stakes_chart(found: Calibration, words: Words = PAPER) -> alt.ConcatChart:
    """Mean probability at each value of the labeller's scale, a panel per monitor, over all test records."""
    rows = [row for row in found["scale"] if _is_pooled(row)]
    notes = {row["monitor"]: f"rank correlation {theme.estimate(row, 'stakes_correlation')}" for row in _ranked(found)}
    drawn = [
        _stakes_panel(part, notes.get(monitor, ""), words) for (monitor,), part in theme.split(rows, "monitor").items()
    ]
    counts = {row["stakes"]: row["n"] for row in rows if row["monitor"] == rows[0]["monitor"]}
    return theme.panels(
        drawn,
        columns=_COLUMNS,
        title=f"Probability against the 1-10 {words.scale} scale",
        subtitle=[
            f"All {_PURPOSE} records with a place on the scale; bars: 95 % interval of the mean (Student), records as "
            "independent.",
            f"Records at each value: {', '.join(f'{value}: {count:,}' for value, count in sorted(counts.items()))}.",
            f"Dashed: {words.scale} s as the probability (s - 1) / 9. Rank correlation: Spearman's, as scored, mean "
            "over sets.",
            _fitted(found["monitors"]),
        ],
    )


def stakes_finding(found: Calibration, words: Words = PAPER) -> str:
    """Rank correlation of every monitor's probabilities with the ratings."""
    told = [f"{row['monitor']} {row.get('stakes_correlation'):.2f}" for row in _ranked(found)]
    return f"Rank correlation of probability and {words.scale}, mean over the test sets: {', '.join(told)}."


FIGURES = {
    "reliability": ResultFigure(reliability_rows, reliability_chart, reliability_finding, reliability_template),
    "measure_calibration": ExperimentFigure("measure_calibration.json", chart, finding, summary, worded=True),
    "calibration_by_stakes": ExperimentFigure("measure_calibration.json", stakes_chart, stakes_finding, worded=True),
}


def _mean_errors(found: Calibration) -> list[ErrorRow]:
    return [row for row in theme.means(found["errors"]) if row["purpose"] == _PURPOSE]


def _ranked(found: Calibration) -> list[ErrorRow]:
    """Errors of the probabilities as scored, of monitors whose rank correlation with the ratings is known."""
    return [row for row in _mean_errors(found) if row["recalibration"] == "none" and "stakes_correlation" in row]


def _is_pooled(row: Recalibrated) -> bool:
    return row["dataset"] == "pooled" and row["purpose"] == _PURPOSE


def _inline(rows: Sequence[Recalibrated], *fields: str) -> alt.Chart:
    """A chart of some fields of rows, and of the names of their maps."""
    told: list[Row] = [{**row, "map": _NAMES[row["recalibration"]]} for row in rows]
    colour = theme.colour_by("map", _MAPS, "Probabilities", legend=alt.Legend(symbolOpacity=1))
    return theme.inline(told, "map", *fields).encode(color=colour)


def _shape() -> alt.Shape:
    return theme.shape_by("map", _MAPS, "Probabilities")


def _fitted(monitors: Mapping[str, Fitted]) -> str:
    """Where the maps come from, and which monitors have none."""
    fitted = [(one["fitted_on"], one["n"]) for one in monitors.values() if "fitted_on" in one and "n" in one]
    told = (
        f"Maps are fitted on {', '.join(fitted[0][0])} (n = {fitted[0][1]:,})." if fitted else "No map could be fitted."
    )
    without = [name for name, one in monitors.items() if "reason" in one]
    return told + (f" Without scores there, and so without a map: {', '.join(without)}." if without else "")


def _error_panel(rows: Sequence[ErrorRow], name: str) -> alt.LayerChart:
    monitors = theme.named(rows, "monitor")
    low, high = f"{name}_low", f"{name}_high"
    base = _inline(rows, "monitor", name, low, high, "n").encode(
        y=alt.Y("monitor:N", title=None, sort=monitors, scale=alt.Scale(paddingInner=0.3)),
        yOffset=alt.YOffset("map:N", sort=_MAPS, scale=alt.Scale(domain=_MAPS)),
        tooltip=theme.tips("monitor:N", "map:N", f"{name}:Q", f"{low}:Q", f"{high}:Q", "n:Q"),
    )
    scale = alt.Scale(domainMin=0, nice=True)
    x = alt.X(f"{low}:Q", title=_ERRORS[name], scale=scale, axis=alt.Axis(tickCount=5))
    marks = theme.level_bars(base, x, name, size=50, shape=_shape())
    return theme.panel(*marks, width=220, height=52 * len(monitors))


def _reliability_panel(rows: Sequence[BinRow], words: Words) -> alt.LayerChart:
    base = _inline(rows, "forecast", "observed", "low", "high", "n").encode(
        x=theme.share_axis("forecast", "Mean probability in bin", alt.X),
        tooltip=theme.tips("map:N", "forecast:Q", "observed:Q", "low:Q", "high:Q", "n:Q"),
    )
    title = theme.heading(rows[0]["monitor"], f"n = {rows[0]['records']:,}")
    return theme.panel(*reliability_layers(base, _shape(), words), width=220, height=220, title=title)


def _stakes_panel(rows: Sequence[StakesRow], note: str, words: Words) -> alt.LayerChart:
    x = alt.X(
        "place:Q",
        title=f"{words.scale.capitalize()} by the labeller",
        scale=alt.Scale(domain=[0.5, 10.5], nice=False, zero=False),
        axis=alt.Axis(values=list(range(1, 11)), format="d", labelOverlap=False, grid=False),
    )
    # Maps stand a little apart, so that their bars can be told apart. One record has a mean and no interval: its bar
    # has no length.
    told: list[Any] = []
    for row in rows:
        apart = 0.12 * (list(_NAMES).index(row["recalibration"]) - 1.5)
        told.append({"low": row["mean"], "high": row["mean"], **row, "place": row["stakes"] + apart})
    base = _inline(told, "stakes", "place", "mean", "low", "high", "n").encode(
        x=x, tooltip=theme.tips("map:N", "stakes:Q", "mean:Q", "low:Q", "high:Q", "n:Q")
    )
    mean = theme.share_axis("mean", "Mean probability", alt.Y)
    line = theme.inline([{"place": 1, "mean": 0}, {"place": 10, "mean": 1}]).encode(x=x, y=mean)
    looks = {"bar": {"strokeWidth": 1.5, "opacity": 0.6}, "line": {"strokeWidth": 1.2, "opacity": 0.7}}
    low = alt.Y("low:Q", title="Mean probability")
    marks = theme.joined_bars(base, low, mean, "high", size=45, shape=_shape(), **looks)
    diagonal = line.mark_line(strokeDash=[4, 4], color=theme.MUTED, strokeWidth=1)
    return theme.panel(diagonal, *marks, width=220, height=220, title=theme.heading(rows[0]["monitor"], note))
