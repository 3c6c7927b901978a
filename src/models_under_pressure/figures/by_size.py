"""AUROC by the number of training prompts or dev samples, and by the size of the model that is read."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import altair as alt

from models_under_pressure.core.concept import PAPER, Words
from models_under_pressure.evaluation.rows import BySize, MethodRow, SampleRow
from models_under_pressure.figures import ExperimentFigure, Row, theme

_MODES = {
    "fine_tune": "synthetic probe, continued on the samples",
    "combine": "synthetic prompts and samples together",
    "only": "samples only",
}
_BARS = "Bars: 95 % interval over records and repeats."


def prompts_chart(rows: Sequence[MethodRow], words: Words = PAPER) -> alt.VConcatChart:
    """The mean over datasets in a large panel, each dataset in a small one; a line per method."""
    repeats = sorted({row["repeats"] for row in rows})
    told = str(repeats[0]) if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    return _chart(
        rows,
        [row for row in rows if row["dataset"] != "mean"],
        ("method", {name: name.replace("_", " ") for name in theme.named(rows, "method")}),
        x="Training prompts",
        title="How many training prompts a monitor needs",
        told=f"Mean over {told} repeats with other prompts and another seed; half of the prompts are "
        f"{words.classes.positive}.",
    )


def prompts_finding(rows: Sequence[MethodRow], words: Words = PAPER) -> str:
    """AUROC of each method with the fewest and the most prompts."""
    told: list[str] = []
    for (method,), part in theme.split(theme.means(rows), "method").items():
        ordered = sorted(part, key=lambda row: row["size"])
        told.append(f"{method} {theme.estimate(ordered[0])} to {theme.estimate(ordered[-1])}")
    sizes = sorted({row["size"] for row in theme.means(rows)})
    return f"Mean AUROC from {sizes[0]} to {sizes[-1]:,} training prompts: {'; '.join(told)}."


def samples_chart(rows: Sequence[SampleRow], words: Words = PAPER) -> alt.VConcatChart:
    """The mean over test sets in a large panel, each test set in a small one; a line per mode."""
    modes = {mode: name for mode, name in _MODES.items() if any(row["mode"] == mode for row in rows)}
    return _chart(
        rows,
        rows,
        ("mode", modes),
        x="Dev samples",
        title="Training on samples of the dev sets, tested on the test sets",
        told=f"Mean over {rows[0]['repeats']} repeats with other samples and another initial probe; half of the "
        f"samples are {words.classes.positive}.",
        levels={row["dataset"]: row["auroc"] for row in rows if row["mode"] == "initial"},
    )


def samples_finding(rows: Sequence[SampleRow], words: Words = PAPER) -> str:
    """AUROC without samples, and of each mode with the most."""
    initial = next(row for row in theme.means(rows) if row["mode"] == "initial")
    largest = max(row["size"] for row in theme.means(rows))
    told = [
        f"{row['mode'].replace('_', ' ')} {theme.estimate(row)}" for row in theme.means(rows) if row["size"] == largest
    ]
    return f"Mean AUROC without samples {theme.estimate(initial)}; with {largest} samples: {', '.join(told)}."


def _summary(rows: Sequence[BySize], series: str) -> dict[str, Any]:
    """Value of a field -> AUROC with the fewest and the most records."""
    found: dict[str, dict[str, float]] = {}
    for (name,), part in theme.split(theme.means(rows), series).items():
        sizes = {row["size"]: row["auroc"] for row in part}
        found[name] = {f"size_{size}": sizes[size] for size in (min(sizes), max(sizes))}
    return found


FIGURES = {
    "measure_data_efficiency": ExperimentFigure(
        "data_efficiency", prompts_chart, prompts_finding, partial(_summary, series="method"), worded=True
    ),
    "train_on_dev": ExperimentFigure(
        "train_on_dev.jsonl", samples_chart, samples_finding, partial(_summary, series="mode"), worded=True
    ),
}


def _chart(
    rows: Sequence[BySize],
    scaled: Sequence[BySize],
    series: tuple[str, Mapping[str, str]],
    *,
    x: str,
    title: str,
    told: str,
    levels: Mapping[str, float] | None = None,
) -> alt.VConcatChart:
    """A panel of the mean, and small ones of each dataset, whose scale fits `scaled`.

    `series` is the field that tells lines apart, and its values' names in the legend; `levels` (AUROC without samples)
    are dotted.
    """
    scales = {True: theme.auroc_scale(theme.means(rows)), False: theme.auroc_scale(scaled)}
    drawn: dict[str, Any] = {}
    for (name,), part in theme.split(rows, "dataset").items():
        level = (levels or {}).get(name)
        note = "" if level is None else f"dotted: synthetic prompts only, {level:.2f}"
        marks = _marks(part, *series, x, scales[name == "mean"])
        if level is not None:
            rule = theme.inline([{"y": level}]).mark_rule(strokeDash=[2, 3], color=theme.MUTED, strokeWidth=1.5)
            marks.insert(0, rule.encode(y="y:Q"))
        drawn[name] = theme.panel(*marks, title=theme.dataset_heading(part, note))
    large = drawn.pop("mean").properties(width=520, height=280)
    small = alt.concat(*(one.properties(width=250, height=170) for one in drawn.values()), columns=2, spacing=20)
    return theme.themed(alt.vconcat(large, small, spacing=20), title=title, subtitle=[told, _BARS])


def _marks(rows: Sequence[BySize], series: str, names: Mapping[str, str], x: str, scale: alt.Scale) -> list[alt.Chart]:
    """A line with intervals per series, sizes evenly spaced as on a logarithmic axis."""
    own: list[Row] = [row for row in rows if row[series] in names]
    sizes = sorted({row["size"] for row in own})
    told: list[Row] = []
    for row in own:
        # Series of one size stand a little apart, so that their intervals can be told apart.
        apart = 0.1 * (list(names).index(row[series]) - (len(names) - 1) / 2)
        place = sizes.index(row["size"]) + apart
        told.append({**row, "series": row[series], "name": names[row[series]], "place": place})
    labels = f"{[f'{size:,}' for size in sizes]}[datum.value]"
    places = alt.Scale(domain=[-0.5, len(sizes) - 0.5], nice=False, zero=False)
    shown = list(names.values())
    base = theme.inline(told).encode(
        x=alt.X(
            "place:Q",
            title=x,
            scale=places,
            axis=alt.Axis(values=list(range(len(sizes))), labelExpr=labels, grid=False),
        ),
        color=theme.colour_by("name", shown, None),
        tooltip=theme.tips("name:N", "size:Q", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "n:Q"),
    )
    low = alt.Y("auroc_low:Q", title="AUROC", scale=scale)
    shape = theme.shape_by("name", shown, None)
    return theme.joined_bars(base, low, "auroc:Q", size=45, shape=shape, bar={"strokeWidth": 1.5})


def scaling_chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per purpose, a line per monitor. `rows` are those of `tools.scaling`."""
    monitors = theme.named(rows, "monitor")
    scale = theme.auroc_scale(rows)
    drawn = [_panel(part, monitors, scale) for part in theme.split(rows, "purpose").values()]
    models = {row["model"]: row["parameters"] for row in sorted(rows, key=lambda row: row["parameters"])}
    told = ", ".join(f"{name} {count / 1e9:.3g}" for name, count in models.items())
    return theme.panels(
        drawn,
        columns=2,
        title="AUROC by model size",
        subtitle=[
            f"Billions of parameters: {told}.",
            "Bars: 95 % interval over records (mean over datasets by MOVER).",
        ],
    )


def scaling_finding(rows: Sequence[Row]) -> str:
    """The smallest and the largest model of each monitor, on the test sets."""
    told: list[str] = []
    for (monitor,), part in theme.split([row for row in rows if row["purpose"] == "test"], "monitor").items():
        ends = [part[0], part[-1]] if len(part) > 1 else part[:1]
        values = [f"{row['auroc']:.2f} ({row['model']})" for row in ends]
        told.append(f"{monitor} {' to '.join(values)}")
    return f"Mean AUROC over the test sets by model: {'; '.join(told)}."


def _panel(rows: Sequence[Row], monitors: list[str], scale: alt.Scale) -> alt.LayerChart:
    sizes = sorted({row["parameters"] for row in rows})
    # Monitors of one model stand a little apart, so that their intervals can be told apart.
    placed = [
        {**row, "place": row["parameters"] * 1.05 ** (monitors.index(row["monitor"]) - (len(monitors) - 1) / 2)}
        for row in rows
    ]
    x = alt.X(
        "place:Q",
        title="Parameters of the model (logarithmic)",
        scale=alt.Scale(type="log", nice=False, domain=[sizes[0] / 1.6, sizes[-1] * 1.6]),
        axis=alt.Axis(values=sizes, labelExpr="replace(format(datum.value, '.3~s'), 'G', 'B')", labelOverlap=True),
    )
    base = theme.inline(placed).encode(
        x=x,
        color=theme.colour_by("monitor", monitors, legend=alt.Legend(symbolOpacity=1)),
        tooltip=theme.tips(
            "monitor:N", "model:N", "parameters:Q", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "n:Q", "run:N"
        ),
    )
    low = alt.Y("auroc_low:Q", title="AUROC", scale=scale)
    bar = {"strokeWidth": 1.5, "opacity": 0.6}
    marks = theme.joined_bars(base, low, "auroc:Q", size=60, shape=theme.shape_by("monitor", monitors), bar=bar)
    told = f"mean of {rows[0]['datasets']} {rows[0]['purpose']} sets (n = {rows[0]['n']:,})"
    return theme.panel(*marks, width=360, height=260, title=theme.heading(told))
