"""Labels and the 1-10 stakes scale of every dataset in use, and what was left out of it."""

from collections.abc import Sequence

import altair as alt

from models_under_pressure.figures.panels import Row, inline, panels, split
from models_under_pressure.figures.theme import COLOURS

_KINDS = {
    "high-stakes": ("high-stakes", COLOURS[1]),
    "low-stakes": ("low-stakes", COLOURS[0]),
    "ambiguous": ("left out: ambiguous", "#a9a9b2"),
    "balanced": ("left out to balance the classes", "#dcdce2"),
    "not labelled": ("not labelled", "#000000"),
}


def chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per dataset: records at each value of the scale, stacked by what became of them.

    `rows` are those of `datasets.distribution.stakes_rows`.
    """
    shown = [{**row, "what": _KINDS[row["kind"]][0], "value": str(row["stakes"] or "none")} for row in rows]
    present = [name for kind, (name, _) in _KINDS.items() if any(row["kind"] == kind for row in rows)]
    colours = [colour for name, colour in _KINDS.values() if name in present]
    values = [str(value) for value in range(1, 11)]
    if any(row["stakes"] == 0 for row in rows):
        values.append("none")
    drawn = []
    for (dataset,), part in split(shown, "dataset").items():
        ordered = [row | {"order": present.index(row["what"])} for row in part]
        bars = inline(ordered, "value", "what", "order", "rows").encode(
            x=alt.X(
                "value:O",
                title="Stakes by the labeller",
                sort=values,
                scale=alt.Scale(domain=values),
                axis=alt.Axis(labelAngle=0, labelOverlap=False),
            ),
            y=alt.Y(
                "sum(rows):Q",
                title="Records",
                axis=alt.Axis(tickMinStep=1, tickCount=5),
                scale=alt.Scale(nice=True),
            ),
            color=alt.Color("what:N", title=None, scale=alt.Scale(domain=present, range=colours), sort=present),
            order=alt.Order("order:Q"),
            tooltip=["value:O", "what:N", alt.Tooltip("sum(rows):Q", format=",")],
        )
        title = alt.TitleParams(dataset, subtitle=_counted(part), anchor="start", frame="group", fontSize=13, offset=6)
        drawn.append(bars.mark_bar().properties(width=210, height=120, title=title))
    return panels(
        drawn,
        title="Labels and stakes of the datasets in use",
        subtitle=[
            "The labeller's 1-10 scale decides the label. Colours: records in use. Grey: records of the raw file that "
            "are not in use,",
            "because they are ambiguous, or so that both classes have as many records.",
        ],
    )


def finding(rows: Sequence[Row]) -> str:
    """Counts over all datasets."""
    totals = {kind: sum(row["rows"] for row in rows if row["kind"] == kind) for kind in _KINDS}
    left_out = totals["ambiguous"] + totals["balanced"]
    datasets = len(split(rows, "dataset"))
    return (
        f"{totals['high-stakes']:,} high-stakes and {totals['low-stakes']:,} low-stakes records are in use in "
        f"{datasets} datasets; {left_out:,} of their raw files are not, {totals['ambiguous']:,} of them ambiguous."
    )


def _counted(rows: Sequence[Row]) -> str:
    high, low = (sum(row["rows"] for row in rows if row["kind"] == kind) for kind in ("high-stakes", "low-stakes"))
    return f"{high:,} high-stakes, {low:,} low-stakes in use"
