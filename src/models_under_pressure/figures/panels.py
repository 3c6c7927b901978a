"""Several small charts side by side, with one legend and shared scales."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.theme import MUTED, colour_scale, themed

COLUMNS = 4
SIDE = 200
"""Width and height of a panel, in pixels."""

Row = Mapping[str, Any]
"""One mark's data, as plain JSON values."""


def panels(charts: Sequence[Any], *, title: str, subtitle: str | list[str], columns: int = COLUMNS) -> alt.ConcatChart:
    """Lay charts out in rows of `columns`, themed."""
    return themed(alt.concat(*charts, columns=columns, spacing=24), title=title, subtitle=subtitle)


def split(rows: Sequence[Row], *keys: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Rows by the values of `keys`, in the order of appearance."""
    parts: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        parts.setdefault(tuple(row[key] for key in keys), []).append(dict(row))
    return parts


def paired_columns(rows: Sequence[Row], most: int = 4) -> int:
    """Columns for panels of each dataset and probe: whole datasets in a row, at most `most` panels when they fit."""
    probes = len({row["probe"] for row in rows}) or 1
    return probes * max(1, most // probes)


def inline(rows: Sequence[Row], *fields: str) -> alt.Chart:
    """A chart that carries its own rows, only their `fields` when given."""
    # a tuple: Altair copies a list, row by row, for every chart that this one becomes part of
    return alt.Chart(alt.InlineData(values=tuple({key: row[key] for key in fields or row} for row in rows)))


def titled(chart: Any, row: Row, *, by_probe: bool = False, width: int = SIDE, height: int = SIDE) -> Any:
    """A panel of the common size under its dataset and number of records, and its probe where it shows one only."""
    title = alt.TitleParams(
        f"{row['dataset']} (n = {row['n']:,})",
        subtitle=row["probe"] if by_probe else alt.Undefined,
        anchor="start",
        frame="group",
        fontSize=13,
        offset=6,
    )
    return chart.properties(width=width, height=height, title=title)


def percent(rate: float) -> str:
    """A rate as readers write it: 0.01 -> `1 %`."""
    return f"{100 * rate:g} %"


def probe_colour(rows: Sequence[Row]) -> alt.Color:
    """Colour by probe, the same in every panel."""
    probes = list(dict.fromkeys(row["probe"] for row in rows))
    return alt.Color("probe:N", title="Monitor", scale=colour_scale(probes), sort=probes)


def probe_dash(rows: Sequence[Row]) -> alt.StrokeDash:
    """Line pattern by probe, which says again what colour says."""
    probes = list(dict.fromkeys(row["probe"] for row in rows))
    patterns = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 3], [4, 1, 1, 1], [1, 3], [10, 2, 2, 2, 2, 2]]
    scale = alt.Scale(domain=probes, range=[patterns[number % len(patterns)] for number in range(len(probes))])
    return alt.StrokeDash("probe:N", title="Monitor", scale=scale, sort=probes)


def share_axis(field: str, title: str, axis: type[alt.X] | type[alt.Y]) -> Any:
    """An axis from 0 to 1."""
    return axis(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], tickCount=6, format=".1f", labelOverlap=False),
    )


def powers_axis(values: Sequence[float], *, most: int = 5) -> alt.Axis:
    """An axis for a logarithmic scale that holds these values: ticks and grid at powers of ten only, at most `most`."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    step = max(1, math.ceil((high - low) / most))
    powers = range(low, high + step, step)
    names = [f"1e{power}" for power in powers]
    return alt.Axis(
        values=[10.0**power for power in powers],
        labelExpr=f"{names}[round((log(datum.value) / LN10 - {low}) / {step})]",
        labelOverlap=False,
    )


def reference(rows: Sequence[Row]) -> alt.Chart:
    """A dashed line through `x` and `y`."""
    return inline(rows).mark_line(strokeDash=[4, 4], color=MUTED, strokeWidth=1).encode(x="x:Q", y="y:Q")


def upright(x: float) -> alt.Chart:
    """A dashed upright line at `x`."""
    return inline([{"x": x}]).mark_rule(strokeDash=[2, 3], color=MUTED).encode(x="x:Q")
