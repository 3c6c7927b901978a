"""Calibration of every monitor before and after recalibration: errors, reliability, and agreement with the scale."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.panels import Row, inline, reference, share_axis, split
from models_under_pressure.figures.theme import COLOURS, MUTED, SHAPES, themed

PURPOSE = "test"
_NAMES = {"none": "as scored", "platt": "Platt", "isotonic": "isotonic", "temperature": "temperature"}
_ERRORS = {"brier": "Brier score", "ece": "ECE, bins of equal width", "adaptive_ece": "ECE, bins of equal mass"}
_COLUMNS = 3


def chart(found: Mapping[str, Any]) -> alt.VConcatChart:
    """Brier score and calibration errors, means over the test sets; below, reliability over all test records.

    `found` is the result of `experiments.measure_calibration`.
    """
    errors = [_told(row) for row in found["errors"] if row["purpose"] == PURPOSE and row["dataset"] == "mean"]
    bins = [_told(row) for row in found["bins"] if _is_pooled(row) and row["binning"] == "equal width"]
    top = alt.concat(*(_error_panel(errors, name) for name in _ERRORS), columns=_COLUMNS, spacing=24)
    below = [_reliability_panel(part) for part in split(bins, "monitor").values()]
    return themed(
        alt.vconcat(top, alt.concat(*below, columns=_COLUMNS, spacing=24), spacing=28),
        title="Calibration before and after recalibration",
        subtitle=[
            f"Above: mean over {errors[0]['datasets']} {PURPOSE} sets (n = {errors[0]['n']:,}), lower is better; "
            "bars: 95 % interval (grouped bootstrap, mean by MOVER).",
            f"Below: all {PURPOSE} records together; upright bars: exact 95 % interval, records as independent; "
            "dashed: calibrated.",
            _fitted(found["monitors"]),
        ],
    )


def by_stakes(found: Mapping[str, Any]) -> alt.ConcatChart:
    """Mean probability at each value of the labeller's scale, a panel per monitor, over all test records."""
    rows = [_told(row) for row in found["scale"] if _is_pooled(row)]
    correlations = {
        (row["monitor"], row["recalibration"]): row
        for row in found["errors"]
        if row["purpose"] == PURPOSE and row["dataset"] == "mean" and "stakes_correlation" in row
    }
    drawn = []
    for (monitor,), part in split(rows, "monitor").items():
        own = correlations.get((monitor, "none"))
        note = "rank correlation {stakes_correlation:.2f} [{stakes_correlation_low:.2f}, {stakes_correlation_high:.2f}]"
        drawn.append(_stakes_panel(part, note.format(**own) if own else ""))
    counts = {row["stakes"]: row["n"] for row in rows if row["monitor"] == rows[0]["monitor"]} if rows else {}
    return themed(
        alt.concat(*drawn, columns=_COLUMNS, spacing=24),
        title="Probability against the 1-10 stakes scale",
        subtitle=[
            f"All {PURPOSE} records with a place on the scale; bars: 95 % interval of the mean (Student), records as "
            "independent.",
            f"Records at each value: {', '.join(f'{value}: {count:,}' for value, count in sorted(counts.items()))}.",
            "Dashed: stakes s as the probability (s - 1) / 9. Rank correlation: Spearman's, as scored, mean over sets.",
            _fitted(found["monitors"]),
        ],
    )


def _is_pooled(row: Row) -> bool:
    return row["dataset"] == "pooled" and row["purpose"] == PURPOSE


def _told(row: Row) -> dict[str, Any]:
    return {**row, "map": _NAMES[row["recalibration"]]}


def _fitted(monitors: Mapping[str, Mapping[str, Any]]) -> str:
    """Where the maps come from, and which monitors have none."""
    fitted = [one for one in monitors.values() if "n" in one]
    told = (
        f"Maps are fitted on {', '.join(fitted[0]['fitted_on'])} (n = {fitted[0]['n']:,})."
        if fitted
        else "No map could be fitted."
    )
    without = [name for name, one in monitors.items() if "reason" in one]
    return told + (f" Without scores there, and so without a map: {', '.join(without)}." if without else "")


def _colour() -> alt.Color:
    names = list(_NAMES.values())
    return alt.Color(
        "map:N",
        title="Probabilities",
        scale=alt.Scale(domain=names, range=list(COLOURS[: len(names)])),
        sort=names,
        legend=alt.Legend(symbolOpacity=1),
    )


def _shape() -> alt.Shape:
    names = list(_NAMES.values())
    return alt.Shape(
        "map:N", title="Probabilities", scale=alt.Scale(domain=names, range=list(SHAPES[: len(names)])), sort=names
    )


def _error_panel(rows: Sequence[Row], name: str) -> Any:
    order = list(_NAMES.values())
    monitors = list(dict.fromkeys(row["monitor"] for row in rows))
    base = inline(rows, "monitor", "map", name, f"{name}_low", f"{name}_high", "n").encode(
        y=alt.Y("monitor:N", title=None, sort=monitors, scale=alt.Scale(paddingInner=0.3)),
        yOffset=alt.YOffset("map:N", sort=order, scale=alt.Scale(domain=order)),
        color=_colour(),
        tooltip=["monitor:N", "map:N", f"{name}:Q", f"{name}_low:Q", f"{name}_high:Q", "n:Q"],
    )
    scale = alt.Scale(domainMin=0, nice=True)
    bars = base.mark_rule(strokeWidth=2).encode(
        x=alt.X(f"{name}_low:Q", title=_ERRORS[name], scale=scale, axis=alt.Axis(tickCount=5)), x2=f"{name}_high:Q"
    )
    points = base.mark_point(filled=True, size=50, opacity=1).encode(x=f"{name}:Q", shape=_shape())
    return alt.layer(bars, points).properties(width=220, height=52 * len(monitors))


def _reliability_panel(rows: Sequence[Row]) -> Any:
    base = inline(rows, "map", "forecast", "observed", "low", "high", "n").encode(
        x=share_axis("forecast", "Mean probability in bin", alt.X),
        color=_colour(),
        tooltip=["map:N", "forecast:Q", "observed:Q", "low:Q", "high:Q", "n:Q"],
    )
    observed = share_axis("observed", "Observed share of high stakes", alt.Y)
    return alt.layer(
        reference([{"x": 0, "y": 0}, {"x": 1, "y": 1}]),
        base.mark_rule(opacity=0.35).encode(y=alt.Y("low:Q", title="Observed share of high stakes"), y2="high:Q"),
        base.mark_line(strokeWidth=1.2, opacity=0.7).encode(y=observed),
        base.mark_point(filled=True, size=45, opacity=1).encode(y=observed, shape=_shape()),
    ).properties(width=220, height=220, title=_panel_title(rows, f"n = {rows[0]['records']:,}"))


def _stakes_panel(rows: Sequence[Row], note: str) -> Any:
    order = list(_NAMES.values())
    x = alt.X(
        "place:Q",
        title="Stakes by the labeller",
        scale=alt.Scale(domain=[0.5, 10.5], nice=False, zero=False),
        axis=alt.Axis(values=list(range(1, 11)), format="d", labelOverlap=False, grid=False),
    )
    # Maps stand a little apart, so that their bars can be told apart. One record has a mean and no interval: its bar
    # has no length.
    apart = [{**row, "place": row["stakes"] + 0.12 * (order.index(row["map"]) - 1.5)} for row in rows]
    whole = [{"low": row["mean"], "high": row["mean"], **row} for row in apart]
    base = inline(whole, "map", "stakes", "place", "mean", "low", "high", "n").encode(
        x=x, color=_colour(), tooltip=["map:N", "stakes:Q", "mean:Q", "low:Q", "high:Q", "n:Q"]
    )
    mean = share_axis("mean", "Mean probability", alt.Y)
    line = inline([{"place": 1, "mean": 0}, {"place": 10, "mean": 1}]).encode(x=x, y=mean)
    return alt.layer(
        line.mark_line(strokeDash=[4, 4], color=MUTED, strokeWidth=1),
        base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(y=alt.Y("low:Q", title="Mean probability"), y2="high:Q"),
        base.mark_line(strokeWidth=1.2, opacity=0.7).encode(y=mean),
        base.mark_point(filled=True, size=45, opacity=1).encode(y=mean, shape=_shape()),
    ).properties(width=220, height=220, title=_panel_title(rows, note))


def _panel_title(rows: Sequence[Row], note: str) -> alt.TitleParams:
    return alt.TitleParams(
        rows[0]["monitor"], subtitle=note or alt.Undefined, anchor="start", frame="group", fontSize=13, offset=6
    )
