"""AUROC against the parameters of the model that a monitor reads."""

from collections.abc import Sequence

import altair as alt

from models_under_pressure.figures import Row, theme


def chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per purpose, a line per monitor. `rows` are those of `evaluation.scaling`."""
    monitors = theme.named(rows, "monitor")
    scale = theme.auroc_scale(rows)
    drawn = [_panel(part, monitors, scale) for part in theme.split(rows, "purpose").values()]
    models = {row["model"]: row["parameters"] for row in sorted(rows, key=lambda row: row["parameters"])}
    told = ", ".join(f"{name} {count / 1e9:.3g}" for name, count in models.items())
    return theme.themed(
        alt.concat(*drawn, columns=2, spacing=24),
        title="AUROC by model size",
        subtitle=[
            f"Billions of parameters: {told}.",
            "Bars: 95 % interval over records (mean over datasets by MOVER).",
        ],
    )


def finding(rows: Sequence[Row]) -> str:
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
        tooltip=["monitor:N", "model:N", "parameters:Q", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "n:Q", "run:N"],
    )
    low = alt.Y("auroc_low:Q", title="AUROC", scale=scale)
    bar = {"strokeWidth": 1.5, "opacity": 0.6}
    marks = theme.joined_bars(base, low, "auroc:Q", size=60, shape=theme.shape_by("monitor", monitors), bar=bar)
    told = f"mean of {rows[0]['datasets']} {rows[0]['purpose']} sets (n = {rows[0]['n']:,})"
    return theme.panel(*marks, width=360, height=260, title=theme.heading(told))
