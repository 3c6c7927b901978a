"""Labels of every version of a dataset, and labels and stakes of the datasets in use with what was left out of them."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures import Row, theme

_LABELS = {"high-stakes": theme.COLOURS[1], "low-stakes": theme.COLOURS[0], "ambiguous": theme.COLOURS[6]}
_KINDS = {
    "high-stakes": ("high-stakes", theme.COLOURS[1]),
    "low-stakes": ("low-stakes", theme.COLOURS[0]),
    "ambiguous": ("left out: ambiguous", "#a9a9b2"),
    "balanced": ("left out to balance the classes", "#dcdce2"),
    "not labelled": ("not labelled", "#000000"),
}


def counts_chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per dataset version, a stacked bar per part (dev or test, raw or balanced)."""
    drawn: list[Any] = []
    for (dataset,), part in theme.split(rows, "dataset").items():
        parts = theme.named(part, "part")
        bars = theme.inline(part, "part", "label", "rows").encode(
            x=alt.X("rows:Q", title="Records"),
            y=alt.Y("part:N", title=None, sort=parts),
            color=_colour("label", _LABELS, "Label"),
            order=alt.Order("label:N", sort="descending"),
            tooltip=["part:N", "label:N", alt.Tooltip("rows:Q", format=",")],
        )
        drawn.append(bars.mark_bar().properties(width=200, height=18 * len(parts), title=theme.heading(dataset)))
    return theme.panels(
        drawn,
        title="Labels of every version",
        subtitle="Raw files hold every labelled record; balanced ones as many high- as low-stakes records.",
    )


def stakes_chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per dataset: records at each value of the scale, stacked by what became of them.

    `rows` are those of `datasets.distribution.stakes_rows`.
    """
    present = {name: colour for kind, (name, colour) in _KINDS.items() if any(row["kind"] == kind for row in rows)}
    values = [str(value) for value in range(1, 11)]
    if any(row["stakes"] == 0 for row in rows):
        values.append("none")
    drawn = [_stakes_panel(dataset, part, present, values) for (dataset,), part in theme.split(rows, "dataset").items()]
    return theme.panels(
        drawn,
        title="Labels and stakes of the datasets in use",
        subtitle=[
            "The labeller's 1-10 scale decides the label. Colours: records in use. Grey: records of the raw file that "
            "are not in use,",
            "because they are ambiguous, or so that both classes have as many records.",
        ],
    )


def stakes_finding(rows: Sequence[Row]) -> str:
    """Counts over all datasets."""
    totals = {kind: _count(rows, kind) for kind in _KINDS}
    left_out = totals["ambiguous"] + totals["balanced"]
    return (
        f"{totals['high-stakes']:,} high-stakes and {totals['low-stakes']:,} low-stakes records are in use in "
        f"{len(theme.named(rows, 'dataset'))} datasets; {left_out:,} of their raw files are not, "
        f"{totals['ambiguous']:,} of them ambiguous."
    )


def _stakes_panel(dataset: str, rows: Sequence[Row], present: dict[str, str], values: list[str]) -> alt.Chart:
    told: list[Row] = []
    for row in rows:
        what = _KINDS[row["kind"]][0]
        told.append({**row, "what": what, "value": str(row["stakes"] or "none"), "order": list(present).index(what)})
    bars = theme.inline(told, "value", "what", "order", "rows").encode(
        x=alt.X(
            "value:O",
            title="Stakes by the labeller",
            sort=values,
            scale=alt.Scale(domain=values),
            axis=alt.Axis(labelAngle=0, labelOverlap=False),
        ),
        y=alt.Y("sum(rows):Q", title="Records", axis=alt.Axis(tickMinStep=1, tickCount=5), scale=alt.Scale(nice=True)),
        color=_colour("what", present, None),
        order=alt.Order("order:Q"),
        tooltip=["value:O", "what:N", alt.Tooltip("sum(rows):Q", format=",")],
    )
    high, low = (_count(rows, kind) for kind in ("high-stakes", "low-stakes"))
    title = theme.heading(dataset, f"{high:,} high-stakes, {low:,} low-stakes in use")
    return bars.mark_bar().properties(width=210, height=120, title=title)


def _colour(field: str, colours: dict[str, str], title: str | None) -> alt.Color:
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(f"{field}:N", title=title, scale=scale, sort=list(colours))


def _count(rows: Sequence[Row], kind: str) -> int:
    return sum(row["rows"] for row in rows if row["kind"] == kind)
