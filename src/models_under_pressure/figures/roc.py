"""ROC curves: true against false positive rate at every threshold."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.figures.outline import corners, counted, of_two_classes
from models_under_pressure.figures.panels import (
    Row,
    inline,
    panels,
    percent,
    probe_colour,
    probe_dash,
    reference,
    share_axis,
    split,
    titled,
    upright,
)


def rows(lists: Sequence[ScoreList]) -> list[dict[str, Any]]:
    """Corners of each curve: `dataset`, `probe`, `fpr`, `tpr`, `rank` along the curve, `n`."""
    found = []
    for scores in of_two_classes(lists):
        counts = curves.count(curves.rank(scores.logits, scores.labels))
        x = np.append(0.0, counts.fp / counts.negatives)
        y = np.append(0.0, counts.tp / counts.positives)
        found += [counted(scores) | {"fpr": a, "tpr": b, "rank": rank} for rank, (a, b) in enumerate(corners(x, y))]
    return found


def chart(rows: Sequence[Row], *, budget: float = 0.01) -> alt.ConcatChart:
    """A panel per dataset; the upright line is the false positive budget, the diagonal is chance."""
    colour, dash = probe_colour(rows), probe_dash(rows)
    drawn = []
    for part in split(rows, "dataset").values():
        line = inline(part, "probe", "rank", "fpr", "tpr").mark_line(interpolate="linear", strokeWidth=1.8, clip=True)
        line = line.encode(
            x=share_axis("fpr", "False positive rate", alt.X),
            y=share_axis("tpr", "True positive rate", alt.Y),
            order="rank:Q",
            color=colour,
            strokeDash=dash,
        )
        chance = reference([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
        drawn.append(titled(alt.layer(chance, upright(budget), line), part[0]))
    return panels(
        drawn,
        title="ROC curves",
        subtitle=f"Dashed diagonal: chance. Dotted upright: budget of {percent(budget)} false alarms.",
    )
