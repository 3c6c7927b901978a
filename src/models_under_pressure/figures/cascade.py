"""What monitors cost: AUROC of cascades against FLOPs of a record, and of every method against FLOPs of a token."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.evaluation.rows import CascadeRow
from models_under_pressure.figures import ExperimentFigure, Row, theme

_SELECTIONS = {
    "mid": "nearest the median rank",
    "top": "highest",
    "uncertain": "nearest probability 1/2",
    "random": "random",
}
_PURPOSE = "test"
_LEGEND = "The second monitor sees those"
_ENDS = ("auroc_low", "auroc_high")
_MOST = 6
"""Small panels in a row: the test sets of one pair, where they are not more."""


def cascades_chart(rows: Sequence[CascadeRow]) -> alt.VConcatChart:
    """The mean over test sets in large panels, one per pair of monitors; each test set in small ones."""
    tested = [row for row in rows if row["purpose"] == _PURPOSE]
    alone = [row for row in tested if row["kind"] == "alone"]
    large: list[Any] = []
    small: list[Any] = []
    pairs = theme.split([row for row in tested if row["kind"] == "cascade"], "first", "second")
    for (first, second), part in pairs.items():
        for (name,), own in theme.split(part, "dataset").items():
            here = [row for row in alone if row["first"] in (first, second) and row["dataset"] == name]
            panel = _panel(own, here)
            if name == "mean":
                values = ", ".join(f"{row['first']} {row['auroc']:.2f}" for row in here)
                told = [f"mean of {own[0].get('datasets')} sets", values]
                title = theme.heading(f"{first}, then {second} (n = {own[0]['n']:,})", told)
                large.append(panel.properties(width=380, height=260, title=title))
            else:
                title = theme.dataset_heading(own, [f"{first}, then", second])
                small.append(panel.properties(width=130, height=130, title=title))
    return theme.themed(
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


def cascades_finding(rows: Sequence[CascadeRow]) -> str:
    """AUROC and cost of the monitors alone and of the best cascade."""
    best = max(_means(rows, "cascade"), key=lambda row: row["auroc"])
    told = [f"{row['first']} alone {theme.estimate(row)} at {row['flops']:.1e}" for row in _means(rows, "alone")]
    return (
        f"Mean AUROC and FLOPs a record: {'; '.join(told)}; the best cascade {theme.estimate(best)} at "
        f"{best['flops']:.1e} ({best['first']}, then {best['second']} for {best['share']:.0%}, {best['selection']})."
    )


def cascades_summary(rows: Sequence[CascadeRow]) -> dict[str, Any]:
    """AUROC of the best selection and share of each pair of monitors."""
    pairs = theme.split(_means(rows, "cascade"), "first", "second")
    return {f"{first}_then_{second}": max(row["auroc"] for row in part) for (first, second), part in pairs.items()}


def methods_chart(rows: Sequence[CascadeRow]) -> alt.LayerChart:
    """One point per monitor alone: the mean over test sets (McKenzie et al. 2025, figure 1)."""
    shown: list[Row] = [{**row, "cost": max(cost, 1e-3)} for row, cost in _costs(rows)]
    base = theme.inline(shown).encode(
        x=alt.X(
            "cost:Q",
            title="FLOPs per token, beyond what the monitored model computes anyway",
            scale=alt.Scale(type="log", nice=False, padding=110),
            axis=theme.powers_axis([row["cost"] for row in shown], most=8),
        ),
        tooltip=theme.tips("first:N", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "flops_per_token:Q", "n:Q"),
    )
    low = alt.Y("auroc_low:Q", title="AUROC", scale=theme.auroc_scale(shown))
    bars = base.mark_rule(strokeWidth=2, color=theme.COLOURS[0]).encode(y=low, y2="auroc_high:Q")
    points = base.mark_point(filled=True, size=80, opacity=1, color=theme.COLOURS[0]).encode(y="auroc:Q")
    names = base.mark_text(align="left", dx=8, fontSize=12, color=theme.MUTED).encode(y="auroc:Q", text="first:N")
    return theme.themed(
        theme.panel(bars, points, names, width=520, height=300),
        title="Methods by cost and AUROC",
        subtitle=f"Mean over {shown[0]['datasets']} {_PURPOSE} sets, n = {shown[0]['n']:,}. Bars: 95 % interval.",
    )


def methods_finding(rows: Sequence[CascadeRow]) -> str:
    """AUROC and cost of every monitor alone."""
    told = [f"{row['first']} {theme.estimate(row)} at {cost:.1e}" for row, cost in _costs(rows)]
    return f"Mean AUROC and FLOPs a token: {'; '.join(told)}."


FIGURES = {
    "cascade": ExperimentFigure("cascade.jsonl", cascades_chart, cascades_finding, cascades_summary),
    "compare_methods": ExperimentFigure("cascade.jsonl", methods_chart, methods_finding),
}


def _means(rows: Sequence[CascadeRow], kind: str) -> list[CascadeRow]:
    return [row for row in theme.means(rows) if row["purpose"] == _PURPOSE and row["kind"] == kind]


def _costs(rows: Sequence[CascadeRow]) -> list[tuple[CascadeRow, float]]:
    """Monitors alone with FLOPs of a token, where these are known."""
    return [(row, row["flops_per_token"]) for row in _means(rows, "alone") if "flops_per_token" in row]


def _panel(rows: Sequence[CascadeRow], alone: Sequence[CascadeRow]) -> alt.LayerChart:
    names = list(_SELECTIONS.values())
    told: list[Row] = [{**_priced(row), "who": _SELECTIONS[row["selection"] or ""]} for row in rows]
    ends = [_priced(row) for row in alone]
    axis = theme.powers_axis([row["cost"] for row in [*told, *ends]], most=4)
    x = alt.X("cost:Q", title="FLOPs per record", scale=alt.Scale(type="log", nice=False, padding=14), axis=axis)
    low = alt.Y("auroc_low:Q", title="AUROC", scale=theme.auroc_scale([*rows, *alone]))
    opaque = alt.Legend(symbolOpacity=1)
    base = theme.inline(told, "who", "cost", "share", "auroc", *_ENDS, "flops", "n").encode(
        x=x,
        color=theme.colour_by("who", names, _LEGEND, legend=opaque),
        tooltip=theme.tips("who:N", "share:Q", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "flops:Q", "n:Q"),
    )
    shape = theme.shape_by("who", names, _LEGEND, legend=opaque)
    bar = {"strokeWidth": 1, "opacity": 0.35}
    marks = theme.joined_bars(base, low, "auroc:Q", size=28, shape=shape, bar=bar, order="share:Q")
    single = theme.inline(ends, "cost", "auroc", *_ENDS).encode(x=x)
    reach = single.mark_rule(color="black", strokeWidth=1).encode(y=low, y2="auroc_high:Q")
    mark = single.mark_point(filled=True, size=80, shape="diamond", color="black", opacity=1).encode(y="auroc:Q")
    return theme.panel(*marks, reach, mark)


def _priced(row: CascadeRow) -> Row:
    """A row with its cost on a logarithmic axis, which has no place for 0."""
    return {**row, "cost": max(row["flops"], 1.0)}
