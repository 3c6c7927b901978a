"""Confusion matrices at the threshold that keeps the false positive budget."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.evaluation.metrics import threshold_at_fpr
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.figures.outline import counted, of_two_classes
from models_under_pressure.figures.panels import Row, inline, paired_columns, panels, percent, split, titled
from models_under_pressure.figures.theme import INK


def rows(lists: Sequence[ScoreList], *, budget: float = 0.01) -> list[dict[str, Any]]:
    """Four cells per score list: `label`, `flagged`, `count`, `share` of the label's records."""
    found = []
    for scores in of_two_classes(lists):
        flagged = scores.logits >= threshold_at_fpr(scores.logits, scores.labels, budget)
        for label, members in (("high-stakes", scores.labels), ("low-stakes", ~scores.labels)):
            for verdict, side in (("flagged", flagged), ("passed", ~flagged)):
                count = int((members & side).sum())
                share = round(count / int(members.sum()), 4)
                found.append(counted(scores) | {"label": label, "flagged": verdict, "count": count, "share": share})
    return found


def chart(rows: Sequence[Row], *, budget: float = 0.01) -> alt.ConcatChart:
    """A panel per dataset and probe; cells say the count and the share of the row."""
    drawn = []
    for part in split(rows, "dataset", "probe").values():
        cells = [row | {"text": f"{row['count']:,}", "percent": f"{row['share']:.1%}"} for row in part]
        base = inline(cells).encode(
            x=alt.X("flagged:N", title=None, axis=alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False)),
            y=alt.Y("label:N", title=None, axis=alt.Axis(ticks=False, domain=False)),
        )
        shade = alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=["#f4f8fb", "#7fb2dc"]), legend=None)
        layers = alt.layer(
            base.mark_rect(stroke="white", strokeWidth=2).encode(color=shade),
            base.mark_text(fontSize=15, dy=-7, color=INK).encode(text="text:N"),
            base.mark_text(fontSize=11, dy=10, color=INK).encode(text="percent:N"),
        )
        drawn.append(titled(layers, part[0], by_probe=True, width=170, height=110))
    return panels(
        drawn,
        title="Confusion at the threshold",
        subtitle=f"Each threshold keeps its dataset's false alarms within {percent(budget)}. Shares are of the row.",
        columns=paired_columns(rows),
    )
