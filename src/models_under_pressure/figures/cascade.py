"""AUROC of cascades against what a record costs."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.by_size import auroc_scale, panel_title
from models_under_pressure.figures.panels import Row, inline, powers_axis, split
from models_under_pressure.figures.theme import COLOURS, SHAPES, themed

_SELECTIONS = {
    "mid": "nearest the median rank",
    "top": "highest",
    "uncertain": "nearest probability 1/2",
    "random": "random",
}
PURPOSE = "test"


def chart(rows: Sequence[Row]) -> alt.VConcatChart:
    """The mean over test sets in large panels, one per pair of monitors; each test set in small ones.

    `rows` are those of `experiments.cascade`.
    """
    tested = [row for row in rows if row["purpose"] == PURPOSE]
    pairs = split([row for row in tested if row["kind"] == "cascade"], "first", "second")
    alone = [row for row in tested if row["kind"] == "alone"]
    large, small = [], []
    for (first, second), part in pairs.items():
        ends = [row for row in alone if row["first"] in (first, second)]
        for (name,), own in split(part, "dataset").items():
            here = [row for row in ends if row["dataset"] == name]
            values = ", ".join(f"{row['first']} {row['auroc']:.2f}" for row in here)
            if name == "mean":
                told = panel_title(f"{first}, then {second}", own, [f"mean of {own[0]['datasets']} sets", values])
                large.append(_panel(own, here).properties(width=380, height=260, title=told))
            else:
                told = panel_title(name, own, [f"{first}, then", second])
                small.append(_panel(own, here).properties(width=130, height=130, title=told))
    return themed(
        alt.vconcat(
            alt.concat(*large, columns=2, spacing=24),
            alt.concat(*small, columns=min(_MOST, len(small) // len(large)), spacing=16),
            spacing=28,
        ),
        title="Monitoring cascades: AUROC against cost",
        subtitle=[
            "Along a line grows the share of records that the second monitor sees too; there both probabilities are "
            "merged.",
            "Bars: 95 % interval (DeLong, grouped; mean over sets by MOVER).",
            "Black diamonds: the monitors alone, whose AUROC stands above the large panels.",
        ],
    )


def _panel(rows: Sequence[Row], alone: Sequence[Row]) -> Any:
    names = list(_SELECTIONS.values())
    told = [{**row, "who": _SELECTIONS[row["selection"]], "cost": max(row["flops"], 1.0)} for row in rows]
    axis = powers_axis([max(row["flops"], 1.0) for row in [*rows, *alone]], most=4)
    x = alt.X("cost:Q", title="FLOPs per record", scale=alt.Scale(type="log", nice=False, padding=14), axis=axis)
    base = inline(told, *_SHOWN).encode(
        x=x,
        color=alt.Color("who:N", title=_LEGEND, scale=_fixed(names, COLOURS), sort=names, legend=_OPAQUE),
        tooltip=["who:N", "share:Q", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "flops:Q", "n:Q"],
    )
    y = alt.Y("auroc_low:Q", title="AUROC", scale=auroc_scale([*rows, *alone]))
    ends = inline([{**row, "cost": max(row["flops"], 1.0)} for row in alone], "cost", "auroc", *_ENDS)
    shape = alt.Shape("who:N", title=_LEGEND, legend=_OPAQUE, scale=_fixed(names, SHAPES), sort=names)
    mark = ends.mark_point(filled=True, size=80, shape="diamond", color="black", opacity=1).encode(x=x, y="auroc:Q")
    reach = ends.mark_rule(color="black", strokeWidth=1).encode(x=x, y=y, y2="auroc_high:Q")
    return alt.layer(
        base.mark_rule(strokeWidth=1, opacity=0.35).encode(y=y, y2="auroc_high:Q"),
        base.mark_line(strokeWidth=2).encode(y="auroc:Q", order="share:Q"),
        base.mark_point(filled=True, size=28, opacity=1).encode(y="auroc:Q", shape=shape),
        reach,
        mark,
    )


_LEGEND = "The second monitor sees those"
_OPAQUE = alt.Legend(symbolOpacity=1)
_ENDS = ("auroc_low", "auroc_high")
_SHOWN = ("who", "cost", "share", "auroc", *_ENDS, "flops", "n")
_MOST = 6
"""Small panels in a row: the test sets of one pair, where they are not more."""


def _fixed(names: Sequence[str], values: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(names), range=list(values[: len(names)]))
