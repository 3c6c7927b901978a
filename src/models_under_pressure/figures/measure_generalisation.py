"""Heat maps of training on one kind of prompt and testing on every kind."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.panels import Row, inline, split
from models_under_pressure.figures.theme import INK, RULE, themed

_CELL = 78
_LOW, _HIGH = 0.5, 1.0
_DARK = 0.78
"""AUROC above which the fill is so dark that white letters read better."""


def chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A map per attribute; a cell holds AUROC, its interval and the number of tested records.

    `rows` are those of `experiments.measure_generalisation`.
    """
    maps = [_map(attribute, part) for (attribute,), part in split(rows, "attribute").items()]
    return themed(
        alt.concat(*maps, columns=2, spacing=32),
        title="Generalisation: AUROC of a probe trained on one kind of prompt",
        subtitle=[
            "Rows: trained on prompts of this value only. Columns: tested on the validation prompts of this value.",
            "In a cell: AUROC, its 95 % interval, and the number of records tested. Grey: too few records.",
        ],
    )


def _map(attribute: str, rows: Sequence[Row]) -> Any:
    trained = {row["trained_on"]: f"{row['trained_on']} (n = {row['n_train']:,})" for row in rows}
    tested = list(dict.fromkeys(row["tested_on"] for row in rows))
    cells = [dict(row) | {"trained": trained[row["trained_on"]]} | _texts(row) for row in rows]
    base = inline(cells).encode(
        x=alt.X(
            "tested_on:N",
            title="tested on",
            sort=tested,
            axis=alt.Axis(labelAngle=0, labelExpr="split(datum.label, ' ')", domain=False, ticks=False),
        ),
        y=alt.Y(
            "trained:N",
            title="trained on",
            sort=list(trained.values()),
            axis=alt.Axis(domain=False, ticks=False, labelLimit=220),
        ),
        tooltip=["trained_on:N", "tested_on:N", "value:N", "interval:N", "n:Q", "n_train:Q"],
    )
    fill = alt.Color(
        "auroc:Q",
        title="AUROC",
        scale=alt.Scale(domain=[_LOW, _HIGH], scheme="blues", clamp=True),
        legend=alt.Legend(format=".1f", gradientLength=220, values=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
    )
    empty = base.transform_filter("!isValid(datum.auroc)").mark_rect(fill=RULE, stroke="white", strokeWidth=2)
    filled = base.transform_filter("isValid(datum.auroc)").mark_rect(stroke="white", strokeWidth=2).encode(color=fill)
    ink = alt.condition(f"datum.auroc > {_DARK}", alt.value("white"), alt.value(INK))
    value = base.mark_text(fontSize=14, fontWeight="bold", dy=-9).encode(text="value:N", color=ink)
    detail = base.mark_text(fontSize=10, dy=6).encode(text="interval:N", color=ink)
    count = base.mark_text(fontSize=10, dy=19).encode(text="count:N", color=ink)
    title = alt.TitleParams(attribute.replace("_", " "), anchor="start", frame="group", fontSize=13)
    return alt.layer(empty, filled, value, detail, count).properties(
        title=title, width=_CELL * len(tested), height=56 * len(trained)
    )


def _texts(row: Row) -> dict[str, Any]:
    count = f"n = {row['n']:,}"
    if "auroc" not in row:
        return {"auroc": None, "value": "–", "interval": "", "count": count}
    return {
        "value": f"{row['auroc']:.2f}",
        "interval": f"[{row['auroc_low']:.2f}, {row['auroc_high']:.2f}]",
        "count": count,
    }
