"""AUROC by the length of the conversation."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.evaluation.differences import delong
from models_under_pressure.evaluation.measure import length_bins
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.figures.outline import of_two_classes
from models_under_pressure.figures.panels import Row, inline, panels, probe_colour, split, titled
from models_under_pressure.figures.theme import MUTED, shape_scale


def rows(
    lists: Sequence[ScoreList], lengths: Mapping[str, Mapping[str, int]], *, bins: int = 4
) -> list[dict[str, Any]]:
    """AUROC with DeLong's interval in bins of equal size: `bin`, `auroc`, `low`, `high`, `n`, `positives`.

    `lengths` is dataset -> record id -> length. A bin that holds one class has no AUROC and no row.

    Raises:
        KeyError: a record has no length.
    """
    found = []
    for scores in of_two_classes(lists):
        names = length_bins([lengths[scores.dataset][id_] for id_ in scores.ids], bins)
        for name in sorted(set(names)):
            inside = [row for row, bin_ in enumerate(names) if bin_ == name]
            labels = scores.labels[inside]
            if labels.all() or not labels.any():
                continue
            estimate = delong(scores.logits[inside], labels, [scores.groups[row] for row in inside])
            found.append(
                {
                    "dataset": scores.dataset,
                    "probe": scores.probe,
                    "bin": name,
                    "auroc": round(estimate.value, 4),
                    "low": round(estimate.low, 4),
                    "high": round(estimate.high, 4),
                    "n": len(inside),
                    "positives": int(labels.sum()),
                }
            )
    return found


def chart(rows: Sequence[Row], *, unit: str = "tokens") -> alt.ConcatChart:
    """A panel per dataset; a bin's label says its lengths and how many records it holds."""
    probes = list(dict.fromkeys(row["probe"] for row in rows))
    colour = probe_colour(rows)
    lowest = min([0.5, *(row["low"] for row in rows)])
    drawn = []
    for part in split(rows, "dataset").values():
        named = [row | {"name": f"{row['bin'].split(': ')[1]} (n = {row['n']:,})"} for row in part]
        order = [row["name"] for row in sorted(named, key=lambda row: row["bin"])]
        base = inline(named).encode(
            y=alt.Y("name:N", title=f"Length, {unit}", sort=list(dict.fromkeys(order))),
            yOffset=alt.YOffset("probe:N", sort=probes),
            color=colour,
            tooltip=["probe:N", "bin:N", "auroc:Q", "low:Q", "high:Q", "n:Q", "positives:Q"],
        )
        scale = alt.Scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False, nice=False)
        bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title="AUROC", scale=scale), x2="high:Q")
        points = base.mark_point(filled=True, size=45, opacity=1).encode(
            x="auroc:Q", shape=alt.Shape("probe:N", title="Monitor", scale=shape_scale(probes), sort=probes)
        )
        chance = inline([{"x": 0.5}]).mark_rule(strokeDash=[4, 4], color=MUTED).encode(x="x:Q")
        drawn.append(titled(alt.layer(chance, bars, points), _whole(part), height=44 * len(set(order))))
    return panels(
        drawn,
        title="AUROC by length",
        subtitle="Bins of about equal number. Bars: 95 % interval (DeLong, grouped). Dashed: chance.",
        columns=3,
    )


def _whole(part: Sequence[Row]) -> Row:
    """The dataset of a panel, with the records of all its bins."""
    bins = {row["bin"]: row["n"] for row in part}
    return {"dataset": part[0]["dataset"], "n": sum(bins.values())}
