"""How many records of each label every version of a dataset holds."""

from collections.abc import Sequence

import altair as alt

from models_under_pressure.figures.panels import Row, inline, panels, split
from models_under_pressure.figures.theme import COLOURS

_LABELS = {"high-stakes": COLOURS[1], "low-stakes": COLOURS[0], "ambiguous": COLOURS[6]}


def chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per dataset version, a stacked bar per part (dev or test, raw or balanced)."""
    drawn = []
    for (dataset,), part in split(rows, "dataset").items():
        parts = list(dict.fromkeys(row["part"] for row in part))
        bars = inline(part, "part", "label", "rows").encode(
            x=alt.X("rows:Q", title="Records"),
            y=alt.Y("part:N", title=None, sort=parts),
            color=alt.Color(
                "label:N",
                title="Label",
                scale=alt.Scale(domain=list(_LABELS), range=list(_LABELS.values())),
                sort=list(_LABELS),
            ),
            order=alt.Order("label:N", sort="descending"),
            tooltip=["part:N", "label:N", alt.Tooltip("rows:Q", format=",")],
        )
        title = alt.TitleParams(dataset, anchor="start", frame="group", fontSize=13, offset=6)
        drawn.append(bars.mark_bar().properties(width=200, height=18 * len(parts), title=title))
    return panels(
        drawn,
        title="Labels of every version",
        subtitle="Raw files hold every labelled record; balanced ones as many high- as low-stakes records.",
    )
