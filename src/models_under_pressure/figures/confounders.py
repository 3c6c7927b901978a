"""What else than the stakes tells high from low in the training prompts, before and after the word filter."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.panels import Row, inline, upright
from models_under_pressure.figures.theme import COLOURS, SHAPES, themed

_MEASURES = {"auroc": "AUROC over all prompts", "within_pairs": "Share of pairs ranked right"}
_NAMES = {"text_length": "text length", "tf_idf": "words (TF-IDF, cross-fitted)"}
_STATES = {"before": "before the word filter", "after": "after it"}


def rows(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row per state, predictor and measure, from `summary` of confounders.json; predictors first."""
    found = []
    for state, figures in ((state, summary[state]) for state in _STATES if state in summary):
        for predictor in sorted(figures, key=lambda name: (name not in _NAMES, name)):
            for measure in _MEASURES:
                if measure in (own := figures[predictor]):
                    ends = {"value": own[measure], "low": own[f"{measure}_low"], "high": own[f"{measure}_high"]}
                    name = _NAMES.get(predictor, predictor.replace("_", " "))
                    found.append({"state": _STATES[state], "predictor": name, "measure": measure} | ends)
    return found


def chart(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> alt.HConcatChart:
    """A panel per measure, a line per predictor and state; chance dashed.

    Predictors at chance by construction, because the prompts of a pair share them, are named below the title.
    """
    told = rows(summary)
    informative = [row["predictor"] for row in told if not row["low"] == row["high"] == 0.5]
    shared = list(dict.fromkeys(row["predictor"] for row in told if row["predictor"] not in informative))
    shown = [row for row in told if row["predictor"] in informative]
    sizes = ", ".join(f"{_STATES[state]} {summary[state]['size']['rows']:,}" for state in _STATES)
    return themed(
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


def finding(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The two measures of words and of length, after filtering."""
    told = [
        f"{row['predictor']} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] ({_MEASURES[row['measure']]})"
        for row in rows({"after": summary["after"]})
        if row["predictor"] in _NAMES.values()
    ]
    return f"After the word filter: {'; '.join(told)}."


def _panel(rows: Sequence[Row], measure: str) -> Any:
    states = list(_STATES.values())
    names = list(dict.fromkeys(row["predictor"] for row in rows))
    base = inline(rows).encode(
        y=alt.Y("predictor:N", title=None, sort=names, scale=alt.Scale(paddingInner=0.3)),
        yOffset=alt.YOffset("state:N", sort=states),
        color=alt.Color("state:N", title=None, sort=states, scale=alt.Scale(domain=states, range=list(COLOURS[:2]))),
        tooltip=["predictor:N", "state:N", "value:Q", "low:Q", "high:Q"],
    )
    lowest, highest = min([0.25, *(row["low"] for row in rows)]), max([0.75, *(row["high"] for row in rows)])
    scale = alt.Scale(domain=[max(0.0, lowest - 0.02), min(1.0, highest + 0.02)], zero=False, nice=False)
    return alt.layer(
        upright(0.5),
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=_MEASURES[measure], scale=scale), x2="high:Q"),
        base.mark_point(filled=True, size=50, opacity=1).encode(
            x="value:Q",
            shape=alt.Shape("state:N", title=None, sort=states, scale=alt.Scale(domain=states, range=list(SHAPES[:2]))),
        ),
    ).properties(width=260, height=36 * len(names))
