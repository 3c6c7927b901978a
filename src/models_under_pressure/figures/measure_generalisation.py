"""Heat maps of training on one kind of prompt and testing on every kind."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import altair as alt

from models_under_pressure.evaluation.rows import CellRow
from models_under_pressure.figures import ExperimentFigure, theme

_CELL = 78
_LOW, _HIGH = 0.5, 1.0


def chart(rows: Sequence[CellRow]) -> alt.ConcatChart:
    """A map per attribute; a cell holds AUROC, its interval and the number of tested records."""
    maps = [_map(attribute, part) for (attribute,), part in theme.split(rows, "attribute").items()]
    return theme.themed(
        alt.concat(*maps, columns=2, spacing=32),
        title="Generalisation: AUROC of a probe trained on one kind of prompt",
        subtitle=[
            "Rows: trained on prompts of this value only. Columns: tested on the validation prompts of this value.",
            "In a cell: AUROC, its 95 % interval, and the number of records tested. Grey: too few records.",
        ],
    )


def finding(rows: Sequence[CellRow]) -> str:
    """Mean AUROC of each attribute on the value trained on and on the others."""
    told = [
        f"{attribute.replace('_', ' ')} {means['same']:.2f} and {means['other']:.2f}"
        for attribute, means in _by_attribute(rows).items()
        if {"same", "other"} <= set(means)
    ]
    return f"Mean AUROC on the value trained on and on the others: {'; '.join(told)}."


def summary(rows: Sequence[CellRow]) -> dict[str, Any]:
    """Means over the attributes, each counting alike."""
    by_attribute = _by_attribute(rows).values()
    parts = {name: [found[name] for found in by_attribute if name in found] for name in ("same", "other")}
    return {name: round(fmean(part), 4) for name, part in parts.items() if part}


FIGURES = {"measure_generalisation": ExperimentFigure("measure_generalisation.jsonl", chart, finding, summary)}


def _by_attribute(rows: Sequence[CellRow]) -> dict[str, dict[str, float]]:
    """Attribute -> mean AUROC of the cells with the value that was trained on (`same`), and of the `other` ones."""
    found: dict[str, dict[str, float]] = {}
    for (attribute,), cells in theme.split(rows, "attribute").items():
        for name, same in (("same", True), ("other", False)):
            part = [row["auroc"] for row in cells if "auroc" in row and (row["trained_on"] == row["tested_on"]) == same]
            if part:
                found.setdefault(attribute, {})[name] = round(fmean(part), 4)
    return found


def _map(attribute: str, rows: Sequence[CellRow]) -> alt.LayerChart:
    trained = {row["trained_on"]: f"{row['trained_on']} (n = {row['n_train']:,})" for row in rows}
    tested = theme.named(rows, "tested_on")
    cells = [{**row, "trained": trained[row["trained_on"]], **_texts(row)} for row in rows]
    base = theme.inline(cells).encode(
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
        tooltip=theme.tips("trained_on:N", "tested_on:N", "value:N", "interval:N", "n:Q", "n_train:Q"),
    )
    fill = alt.Color(
        "auroc:Q",
        title="AUROC",
        scale=alt.Scale(domain=[_LOW, _HIGH], range=list(theme.BLUES), clamp=True),
        legend=alt.Legend(format=".1f", gradientLength=220, values=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
    )
    empty = base.transform_filter("!isValid(datum.auroc)").mark_rect(fill=theme.RULE, stroke="white", strokeWidth=2)
    filled = base.transform_filter("isValid(datum.auroc)").mark_rect(stroke="white", strokeWidth=2).encode(color=fill)
    value = base.mark_text(fontSize=14, fontWeight="bold", dy=-9, color=theme.INK).encode(text="value:N")
    detail = base.mark_text(fontSize=10, dy=6, color=theme.INK).encode(text="interval:N")
    count = base.mark_text(fontSize=10, dy=19, color=theme.INK).encode(text="count:N")
    title = theme.heading(attribute.replace("_", " "), offset=None)
    return theme.panel(
        empty, filled, value, detail, count, title=title, width=_CELL * len(tested), height=56 * len(trained)
    )


def _texts(row: CellRow) -> dict[str, Any]:
    value, interval = theme.estimate(row).split(" ", 1) if "auroc" in row else ("–", "")
    return {"auroc": row.get("auroc"), "value": value, "interval": interval, "count": f"n = {row['n']:,}"}
