"""Precision against recall at every threshold."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.figures.outline import corners, counted, of_two_classes
from models_under_pressure.figures.panels import (
    Row,
    inline,
    panels,
    probe_colour,
    probe_dash,
    reference,
    share_axis,
    split,
    titled,
)


def rows(lists: Sequence[ScoreList]) -> list[dict[str, Any]]:
    """Points of each curve: `dataset`, `probe`, `recall`, `precision`, `rank` along the curve, `n`, `positives`."""
    found = []
    for scores in of_two_classes(lists):
        counts = curves.count(curves.rank(scores.logits, scores.labels))
        recall = counts.tp / counts.positives
        precision = counts.tp / (counts.tp + counts.fp)
        found += [
            counted(scores) | {"recall": a, "precision": b, "rank": rank}
            for rank, (a, b) in enumerate(corners(recall, precision))
        ]
    return found


def chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per dataset; the level line is the precision of flagging everything."""
    colour, dash = probe_colour(rows), probe_dash(rows)
    drawn = []
    for part in split(rows, "dataset").values():
        # Steps, because precision between two thresholds is that of the lower one, never their mean.
        line = inline(part, "probe", "rank", "recall", "precision").mark_line(
            interpolate="step-before", strokeWidth=1.8, clip=True
        )
        line = line.encode(
            x=share_axis("recall", "Recall (true positive rate)", alt.X),
            y=share_axis("precision", "Precision", alt.Y),
            order="rank:Q",
            color=colour,
            strokeDash=dash,
        )
        share = part[0]["positives"] / part[0]["n"]
        everything = reference([{"x": 0, "y": share}, {"x": 1, "y": share}])
        drawn.append(titled(alt.layer(everything, line), part[0]))
    return panels(
        drawn,
        title="Precision and recall",
        subtitle="At the class mix of each dataset. Dashed: the share of high-stakes records, what flagging all gives.",
    )
