"""Figures of datasets: labels of every version, stakes of those in use, the words and confounders that tell."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.core.concept import PAPER, Classes, Words, elided
from models_under_pressure.figures import Row, Rows, theme


def _label_colours(classes: Classes) -> dict[str, str]:
    places = {classes.positive: 1, classes.negative: 0, classes.ambiguous: 6}
    return {word: theme.COLOURS[place] for word, place in places.items()}


def _kinds(classes: Classes) -> dict[str, tuple[str, str]]:
    """Kind of a record -> what it is called, and its colour."""
    return {
        classes.positive: (classes.positive, theme.COLOURS[1]),
        classes.negative: (classes.negative, theme.COLOURS[0]),
        classes.ambiguous: (f"left out: {classes.ambiguous}", "#a9a9b2"),
        "balanced": ("left out to balance the classes", "#dcdce2"),
        "not labelled": ("not labelled", "#000000"),
    }


def counts_chart(rows: Sequence[Row], words: Words = PAPER) -> alt.ConcatChart:
    """A panel per dataset version, a stacked bar per part (dev or test, raw or balanced)."""
    classes = words.classes
    alike = f"as many {elided(classes.positive, classes.negative)} as {classes.negative} records"
    drawn: list[Any] = []
    for (dataset,), part in theme.split(rows, "dataset").items():
        parts = theme.named(part, "part")
        bars = theme.inline(part, "part", "label", "rows").encode(
            x=alt.X("rows:Q", title="Records"),
            y=alt.Y("part:N", title=None, sort=parts),
            color=_colour("label", _label_colours(classes), "Label"),
            order=alt.Order("label:N", sort="descending"),
            tooltip=theme.tips("part:N", "label:N", alt.Tooltip("rows:Q", format=",")),
        )
        drawn.append(bars.mark_bar().properties(width=200, height=18 * len(parts), title=theme.heading(dataset)))
    return theme.panels(
        drawn,
        title="Labels of every version",
        subtitle=f"Raw files hold every labelled record; balanced ones {alike}.",
    )


def stakes_chart(rows: Sequence[Row], words: Words = PAPER) -> alt.ConcatChart:
    """A panel per dataset: records at each value of the scale, stacked by what became of them.

    `rows` are those of `datasets.distribution.stakes_rows`.
    """
    present = {
        name: colour
        for kind, (name, colour) in _kinds(words.classes).items()
        if any(row["kind"] == kind for row in rows)
    }
    values = [str(value) for value in range(1, 11)]
    if any(row["stakes"] == 0 for row in rows):
        values.append("none")
    drawn = [
        _stakes_panel(dataset, part, present, values, words)
        for (dataset,), part in theme.split(rows, "dataset").items()
    ]
    return theme.panels(
        drawn,
        title=f"Labels and {words.scale} of the datasets in use",
        subtitle=[
            "The labeller's 1-10 scale decides the label. Colours: records in use. Grey: records of the raw file that "
            "are not in use,",
            f"because they are {words.classes.ambiguous}, or so that both classes have as many records.",
        ],
    )


def stakes_finding(rows: Sequence[Row], words: Words = PAPER) -> str:
    """Counts over all datasets."""
    classes = words.classes
    totals = {kind: _count(rows, kind) for kind in _kinds(classes)}
    left_out = totals[classes.ambiguous] + totals["balanced"]
    return (
        f"{totals[classes.positive]:,} {classes.positive} and {totals[classes.negative]:,} {classes.negative} records "
        "are in use in "
        f"{len(theme.named(rows, 'dataset'))} datasets; {left_out:,} of their raw files are not, "
        f"{totals[classes.ambiguous]:,} of them {classes.ambiguous}."
    )


def _stakes_panel(
    dataset: str, rows: Sequence[Row], present: dict[str, str], values: list[str], words: Words
) -> alt.Chart:
    told: list[Row] = []
    for row in rows:
        what = _kinds(words.classes)[row["kind"]][0]
        told.append({**row, "what": what, "value": str(row["stakes"] or "none"), "order": list(present).index(what)})
    bars = theme.inline(told, "value", "what", "order", "rows").encode(
        x=alt.X(
            "value:O",
            title=f"{words.scale.capitalize()} by the labeller",
            sort=values,
            scale=alt.Scale(domain=values),
            axis=alt.Axis(labelAngle=0, labelOverlap=False),
        ),
        y=alt.Y("sum(rows):Q", title="Records", axis=alt.Axis(tickMinStep=1, tickCount=5), scale=alt.Scale(nice=True)),
        color=_colour("what", present, None),
        order=alt.Order("order:Q"),
        tooltip=theme.tips("value:O", "what:N", alt.Tooltip("sum(rows):Q", format=",")),
    )
    high, low = (_count(rows, kind) for kind in (words.classes.positive, words.classes.negative))
    title = theme.heading(dataset, f"{high:,} {words.classes.positive}, {low:,} {words.classes.negative} in use")
    return bars.mark_bar().properties(width=210, height=120, title=title)


def _colour(field: str, colours: dict[str, str], title: str | None) -> alt.Color:
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(f"{field}:N", title=title, scale=scale, sort=list(colours))


def _count(rows: Sequence[Row], kind: str) -> int:
    return sum(row["rows"] for row in rows if row["kind"] == kind)


Summary = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""State of the prompts -> predictor -> measure, from `summary` of confounders.json."""

_NOT_WRITTEN = "No training prompts were written."
_MEASURES = {"auroc": "AUROC over all prompts", "within_pairs": "Share of pairs ranked right"}
_NAMES = {"text_length": "text length", "tf_idf": "words (TF-IDF, cross-fitted)"}
_STATES = {"before": "before the word filter", "after": "after it"}


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
    if not summary:
        told = alt.Chart({"values": [{}]}).mark_text(text=_NOT_WRITTEN, align="left")
        return theme.themed(alt.hconcat(told), title="Confounders of the training prompts")
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
    if not summary:
        return _NOT_WRITTEN
    told = [
        f"{row['predictor']} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] ({_MEASURES[row['measure']]})"
        for row in rows({"after": summary["after"]})
        if row["predictor"] in _NAMES.values()
    ]
    return f"After the word filter: {'; '.join(told)}."


def words_chart(rows: Sequence[Row], words: Words = PAPER, *, dataset: str) -> alt.LayerChart:
    """A line per word, as `datasets.distribution.telling_words` finds them: its log odds ratio with its interval."""
    classes, (high, low) = words.classes, words.classes.columns
    sides = (f"in {classes.positive} records", f"in {classes.negative} records")
    told: list[Row] = [
        {
            **row,
            "name": f"{row['word']}  ({row[high]} : {row[low]})",
            "side": sides[row["log_odds"] < 0],
        }
        for row in rows
    ]
    colours = alt.Scale(domain=list(sides), range=[theme.COLOURS[1], theme.COLOURS[0]])
    base = theme.inline(told).encode(
        y=alt.Y("name:N", title=None, sort=[row["name"] for row in told], axis=alt.Axis(labelLimit=220)),
        color=alt.Color("side:N", title="More often", scale=colours, sort=list(sides)),
        tooltip=theme.tips("word:N", "log_odds:Q", "low:Q", "high:Q", f"{high}:Q", "n_high:Q", f"{low}:Q", "n_low:Q"),
    )
    x = alt.X("low:Q", title="Log odds ratio of occurring in a record (natural logarithm)")
    marks = theme.level_bars(base, x, "log_odds", "high", size=45, shape=theme.shape_by("side", sides, "More often"))
    counted = (
        f"{rows[0]['n_high']:,} {classes.positive} and {rows[0]['n_low']:,} {classes.negative} records"
        if rows
        else "no records"
    )
    return theme.themed(
        theme.panel(theme.upright(0.0), *marks, width=420, height=alt.Step(17)),
        title=f"Words that tell {words.contrast}",
        subtitle=[
            f"{dataset}: {counted}. In brackets: records of each class that have the word.",
            "Bars: 95 % interval, records as independent, not corrected for the choice of these words among all.",
        ],
    )


def words_finding(rows: Sequence[Row], words: Words = PAPER) -> str:
    """The surest words of both sides."""
    if not rows:
        return "No word tells the classes apart, or one class is missing."
    high = [row["word"] for row in rows if row["log_odds"] > 0][:5]
    low = [row["word"] for row in reversed(rows) if row["log_odds"] < 0][:5]
    positive, negative = words.classes.positive_noun, words.classes.negative_noun
    return f"Surest of {positive}: {', '.join(high)}. Surest of {negative}: {', '.join(low)}."


def _panel(rows: Sequence[Row], measure: str) -> alt.LayerChart:
    states = list(_STATES.values())
    names = theme.named(rows, "predictor")
    base = theme.inline(rows).encode(
        y=alt.Y("predictor:N", title=None, sort=names, scale=alt.Scale(paddingInner=0.3)),
        yOffset=alt.YOffset("state:N", sort=states),
        color=theme.colour_by("state", states, None),
        tooltip=theme.tips("predictor:N", "state:N", "value:Q", "low:Q", "high:Q"),
    )
    lowest, highest = min([0.25, *(row["low"] for row in rows)]), max([0.75, *(row["high"] for row in rows)])
    scale = alt.Scale(domain=[max(0.0, lowest - 0.02), min(1.0, highest + 0.02)], zero=False, nice=False)
    x = alt.X("low:Q", title=_MEASURES[measure], scale=scale)
    marks = theme.level_bars(base, x, "value", "high", size=50, shape=theme.shape_by("state", states, None))
    return theme.panel(theme.upright(0.5), *marks, width=260, height=36 * len(names))
