"""What tells high from low in the training prompts: its words, and what else than the stakes."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures import Row, Rows, theme

Summary = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""State of the prompts -> predictor -> measure, from `summary` of confounders.json."""

_MEASURES = {"auroc": "AUROC over all prompts", "within_pairs": "Share of pairs ranked right"}
_NAMES = {"text_length": "text length", "tf_idf": "words (TF-IDF, cross-fitted)"}
_STATES = {"before": "before the word filter", "after": "after it"}
_SIDES = ("in high-stakes records", "in low-stakes records")


def rows(summary: Summary) -> Rows:
    """One row per state, predictor and measure; the predictors length and words first."""
    found: Rows = []
    for state, figures in ((state, summary[state]) for state in _STATES if state in summary):
        for predictor in sorted(figures, key=lambda name: (name not in _NAMES, name)):
            for measure in _MEASURES:
                if measure in (own := figures[predictor]):
                    ends = {"value": own[measure], "low": own[f"{measure}_low"], "high": own[f"{measure}_high"]}
                    name = _NAMES.get(predictor, predictor.replace("_", " "))
                    found.append({"state": _STATES[state], "predictor": name, "measure": measure, **ends})
    return found


def chart(summary: Summary) -> alt.HConcatChart:
    """A panel per measure, a line per predictor and state; chance dashed.

    Predictors at chance by construction, because the prompts of a pair share them, are named below the title.
    """
    told = rows(summary)
    informative = {row["predictor"] for row in told if not row["low"] == row["high"] == 0.5}
    shared = [name for name in theme.named(told, "predictor") if name not in informative]
    shown = [row for row in told if row["predictor"] in informative]
    sizes = ", ".join(f"{_STATES[state]} {summary[state]['size']['rows']:,}" for state in _STATES)
    return theme.themed(
        alt.hconcat(
            *(_panel([row for row in shown if row["measure"] == name], name) for name in _MEASURES), spacing=28
        ),
        title="Confounders of the training prompts",
        subtitle=[
            f"Prompts: {sizes}. Bars: 95 % interval, whole situations resampled.",
            "Dashed: chance, 0.5; far from it on either side tells. Of each attribute the value farthest from chance.",
            *([f"Exactly 0.5, for the prompts of a pair share them: {', '.join(shared)}."] if shared else []),
        ],
    )


def finding(summary: Summary) -> str:
    """The two measures of words and of length, after filtering."""
    told = [
        f"{row['predictor']} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] ({_MEASURES[row['measure']]})"
        for row in rows({"after": summary["after"]})
        if row["predictor"] in _NAMES.values()
    ]
    return f"After the word filter: {'; '.join(told)}."


def words_chart(rows: Sequence[Row], *, dataset: str) -> alt.LayerChart:
    """A line per word: its log odds ratio with its interval. `rows` are those of `datasets.word_statistics`."""
    told: list[Row] = [
        {
            **row,
            "name": f"{row['word']}  ({row['high_stakes']} : {row['low_stakes']})",
            "side": _SIDES[row["log_odds"] < 0],
        }
        for row in rows
    ]
    colours = alt.Scale(domain=list(_SIDES), range=[theme.COLOURS[1], theme.COLOURS[0]])
    base = theme.inline(told).encode(
        y=alt.Y("name:N", title=None, sort=[row["name"] for row in told], axis=alt.Axis(labelLimit=220)),
        color=alt.Color("side:N", title="More often", scale=colours, sort=list(_SIDES)),
        tooltip=["word:N", "log_odds:Q", "low:Q", "high:Q", "high_stakes:Q", "n_high:Q", "low_stakes:Q", "n_low:Q"],
    )
    x = alt.X("low:Q", title="Log odds ratio of occurring in a record (natural logarithm)")
    marks = theme.level_bars(base, x, "log_odds", "high", size=45, shape=theme.shape_by("side", _SIDES, "More often"))
    counted = f"{rows[0]['n_high']:,} high-stakes and {rows[0]['n_low']:,} low-stakes records" if rows else "no records"
    return theme.themed(
        theme.panel(theme.upright(0.0), *marks, width=420, height=alt.Step(17)),
        title="Words that tell high from low stakes",
        subtitle=[
            f"{dataset}: {counted}. In brackets: records of each class that have the word.",
            "Bars: 95 % interval, records as independent, not corrected for the choice of these words among all.",
        ],
    )


def words_finding(rows: Sequence[Row]) -> str:
    """The surest words of both sides."""
    if not rows:
        return "No word tells the classes apart, or one class is missing."
    high = [row["word"] for row in rows if row["log_odds"] > 0][:5]
    low = [row["word"] for row in reversed(rows) if row["log_odds"] < 0][:5]
    return f"Surest of high stakes: {', '.join(high)}. Surest of low stakes: {', '.join(low)}."


def _panel(rows: Sequence[Row], measure: str) -> alt.LayerChart:
    states = list(_STATES.values())
    names = theme.named(rows, "predictor")
    base = theme.inline(rows).encode(
        y=alt.Y("predictor:N", title=None, sort=names, scale=alt.Scale(paddingInner=0.3)),
        yOffset=alt.YOffset("state:N", sort=states),
        color=theme.colour_by("state", states, None),
        tooltip=["predictor:N", "state:N", "value:Q", "low:Q", "high:Q"],
    )
    lowest, highest = min([0.25, *(row["low"] for row in rows)]), max([0.75, *(row["high"] for row in rows)])
    scale = alt.Scale(domain=[max(0.0, lowest - 0.02), min(1.0, highest + 0.02)], zero=False, nice=False)
    x = alt.X("low:Q", title=_MEASURES[measure], scale=scale)
    marks = theme.level_bars(base, x, "value", "high", size=50, shape=theme.shape_by("state", states, None))
    return theme.panel(theme.upright(0.5), *marks, width=260, height=36 * len(names))
