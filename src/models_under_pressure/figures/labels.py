"""Figures of datasets: labels of every version, stakes of those in use, the words and confounders that tell."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures import Row, Rows, theme

_LABELS = {"high-stakes": theme.COLOURS[1], "low-stakes": theme.COLOURS[0], "ambiguous": theme.COLOURS[6]}
_KINDS = {
    "high-stakes": ("high-stakes", theme.COLOURS[1]),
    "low-stakes": ("low-stakes", theme.COLOURS[0]),
    "ambiguous": ("left out: ambiguous", "#a9a9b2"),
    "balanced": ("left out to balance the classes", "#dcdce2"),
    "not labelled": ("not labelled", "#000000"),
}


def counts_chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per dataset version, a stacked bar per part (dev or test, raw or balanced)."""
    drawn: list[Any] = []
    for (dataset,), part in theme.split(rows, "dataset").items():
        parts = theme.named(part, "part")
        bars = theme.inline(part, "part", "label", "rows").encode(
            x=alt.X("rows:Q", title="Records"),
            y=alt.Y("part:N", title=None, sort=parts),
            color=_colour("label", _LABELS, "Label"),
            order=alt.Order("label:N", sort="descending"),
            tooltip=["part:N", "label:N", alt.Tooltip("rows:Q", format=",")],
        )
        drawn.append(bars.mark_bar().properties(width=200, height=18 * len(parts), title=theme.heading(dataset)))
    return theme.panels(
        drawn,
        title="Labels of every version",
        subtitle="Raw files hold every labelled record; balanced ones as many high- as low-stakes records.",
    )


def stakes_chart(rows: Sequence[Row]) -> alt.ConcatChart:
    """A panel per dataset: records at each value of the scale, stacked by what became of them.

    `rows` are those of `datasets.distribution.stakes_rows`.
    """
    present = {name: colour for kind, (name, colour) in _KINDS.items() if any(row["kind"] == kind for row in rows)}
    values = [str(value) for value in range(1, 11)]
    if any(row["stakes"] == 0 for row in rows):
        values.append("none")
    drawn = [_stakes_panel(dataset, part, present, values) for (dataset,), part in theme.split(rows, "dataset").items()]
    return theme.panels(
        drawn,
        title="Labels and stakes of the datasets in use",
        subtitle=[
            "The labeller's 1-10 scale decides the label. Colours: records in use. Grey: records of the raw file that "
            "are not in use,",
            "because they are ambiguous, or so that both classes have as many records.",
        ],
    )


def stakes_finding(rows: Sequence[Row]) -> str:
    """Counts over all datasets."""
    totals = {kind: _count(rows, kind) for kind in _KINDS}
    left_out = totals["ambiguous"] + totals["balanced"]
    return (
        f"{totals['high-stakes']:,} high-stakes and {totals['low-stakes']:,} low-stakes records are in use in "
        f"{len(theme.named(rows, 'dataset'))} datasets; {left_out:,} of their raw files are not, "
        f"{totals['ambiguous']:,} of them ambiguous."
    )


def _stakes_panel(dataset: str, rows: Sequence[Row], present: dict[str, str], values: list[str]) -> alt.Chart:
    told: list[Row] = []
    for row in rows:
        what = _KINDS[row["kind"]][0]
        told.append({**row, "what": what, "value": str(row["stakes"] or "none"), "order": list(present).index(what)})
    bars = theme.inline(told, "value", "what", "order", "rows").encode(
        x=alt.X(
            "value:O",
            title="Stakes by the labeller",
            sort=values,
            scale=alt.Scale(domain=values),
            axis=alt.Axis(labelAngle=0, labelOverlap=False),
        ),
        y=alt.Y("sum(rows):Q", title="Records", axis=alt.Axis(tickMinStep=1, tickCount=5), scale=alt.Scale(nice=True)),
        color=_colour("what", present, None),
        order=alt.Order("order:Q"),
        tooltip=["value:O", "what:N", alt.Tooltip("sum(rows):Q", format=",")],
    )
    high, low = (_count(rows, kind) for kind in ("high-stakes", "low-stakes"))
    title = theme.heading(dataset, f"{high:,} high-stakes, {low:,} low-stakes in use")
    return bars.mark_bar().properties(width=210, height=120, title=title)


def _colour(field: str, colours: dict[str, str], title: str | None) -> alt.Color:
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(f"{field}:N", title=title, scale=scale, sort=list(colours))


def _count(rows: Sequence[Row], kind: str) -> int:
    return sum(row["rows"] for row in rows if row["kind"] == kind)


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
    """A line per word, as `datasets.distribution.telling_words` finds them: its log odds ratio with its interval."""
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
