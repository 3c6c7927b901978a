"""AUROC by the number of samples: lines with intervals, sizes evenly spaced as on a logarithmic axis."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.panels import Row, inline
from models_under_pressure.figures.theme import COLOURS, MUTED, SHAPES


def by_size(
    rows: Sequence[Row], series: Mapping[str, str], *, scale: alt.Scale, x_title: str, level: float | None = None
) -> Any:
    """One panel.

    Args:
        rows: `series`, `size`, `auroc`, `auroc_low`, `auroc_high`, `n`.
        series: name in the rows -> name in the legend; the order is that of colours and shapes.
        scale: of AUROC.
        x_title: what is counted.
        level: an AUROC to draw as a dotted line.
    """
    names = list(series.values())
    sizes = sorted({row["size"] for row in rows})
    placed = [dict(row) | {"name": series[row["series"]], "place": _place(row, sizes, list(series))} for row in rows]
    base = inline(placed).encode(
        x=alt.X(
            "place:Q",
            title=x_title,
            scale=alt.Scale(domain=[-0.5, len(sizes) - 0.5], nice=False, zero=False),
            axis=alt.Axis(
                values=list(range(len(sizes))), labelExpr=f"{[f'{size:,}' for size in sizes]}[datum.value]", grid=False
            ),
        ),
        color=alt.Color("name:N", title=None, sort=names, scale=_scale(names, COLOURS)),
        tooltip=["name:N", "size:Q", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "n:Q"],
    )
    y = alt.Y("auroc_low:Q", title="AUROC", scale=scale)
    shape = alt.Shape("name:N", title=None, sort=names, scale=_scale(names, SHAPES))
    layers: list[Any] = [
        base.mark_rule(strokeWidth=1.5).encode(y=y, y2="auroc_high:Q"),
        base.mark_line(strokeWidth=2).encode(y="auroc:Q"),
        base.mark_point(filled=True, size=45, opacity=1).encode(y="auroc:Q", shape=shape),
    ]
    if level is not None:
        rule = inline([{"y": level}]).mark_rule(strokeDash=[2, 3], color=MUTED, strokeWidth=1.5).encode(y="y:Q")
        layers.insert(0, rule)
    return alt.layer(*layers)


def _place(row: Row, sizes: Sequence[int], series: Sequence[str]) -> float:
    """Sizes one apart; series of one size a little apart, so that their intervals can be told apart."""
    return sizes.index(row["size"]) + 0.1 * (series.index(row["series"]) - (len(series) - 1) / 2)


def auroc_scale(rows: Sequence[Row]) -> alt.Scale:
    """From just under the lowest interval to 1."""
    lowest = min([0.5, *(row["auroc_low"] for row in rows)])
    return alt.Scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False, nice=False)


def panel_title(name: str, rows: Sequence[Row], note: str | list[str] = "") -> alt.TitleParams:
    """A dataset's name and number of records, and a note below."""
    count = rows[0].get("datasets")
    what = f"mean of {count} sets" if name == "mean" else name
    return alt.TitleParams(
        f"{what} (n = {rows[0]['n']:,})",
        subtitle=note or alt.Undefined,
        anchor="start",
        frame="group",
        fontSize=13,
        offset=6,
    )


def _scale(names: Sequence[str], values: Sequence[Any]) -> alt.Scale:
    return alt.Scale(domain=list(names), range=[values[number % len(values)] for number in range(len(names))])
