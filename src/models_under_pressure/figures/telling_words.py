"""The words that tell high from low stakes most surely."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.panels import Row, inline, upright
from models_under_pressure.figures.theme import COLOURS, themed

_SIDES = {"in high-stakes records": COLOURS[1], "in low-stakes records": COLOURS[0]}


def chart(rows: Sequence[Row], *, dataset: str) -> Any:
    """A line per word: its log odds ratio with its interval. `rows` are those of `datasets.word_statistics`."""
    sides = list(_SIDES)
    told = [
        {
            **row,
            "name": f"{row['word']}  ({row['high_stakes']} : {row['low_stakes']})",
            "side": sides[row["log_odds"] < 0],
        }
        for row in rows
    ]
    base = inline(told).encode(
        y=alt.Y("name:N", title=None, sort=[row["name"] for row in told], axis=alt.Axis(labelLimit=220)),
        color=alt.Color(
            "side:N", title="More often", scale=alt.Scale(domain=sides, range=list(_SIDES.values())), sort=sides
        ),
        tooltip=["word:N", "log_odds:Q", "low:Q", "high:Q", "high_stakes:Q", "n_high:Q", "low_stakes:Q", "n_low:Q"],
    )
    x = alt.X("low:Q", title="Log odds ratio of occurring in a record (natural logarithm)")
    counted = f"{rows[0]['n_high']:,} high-stakes and {rows[0]['n_low']:,} low-stakes records" if rows else "no records"
    return themed(
        alt.layer(
            upright(0.0),
            base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q"),
            base.mark_point(filled=True, size=45, opacity=1).encode(
                x="log_odds:Q",
                shape=alt.Shape("side:N", title="More often", sort=sides, scale=alt.Scale(domain=sides, range=_SHAPES)),
            ),
        ).properties(width=420, height=alt.Step(17)),
        title="Words that tell high from low stakes",
        subtitle=[
            f"{dataset}: {counted}. In brackets: records of each class that have the word.",
            "Bars: 95 % interval, records as independent, not corrected for the choice of these words among all.",
        ],
    )


def finding(rows: Sequence[Row]) -> str:
    """The surest words of both sides."""
    high = [row["word"] for row in rows if row["log_odds"] > 0][:5]
    low = [row["word"] for row in reversed(rows) if row["log_odds"] < 0][:5]
    if not rows:
        return "No word tells the classes apart, or one class is missing."
    return f"Surest of high stakes: {', '.join(high)}. Surest of low stakes: {', '.join(low)}."


_SHAPES = ["circle", "square"]
