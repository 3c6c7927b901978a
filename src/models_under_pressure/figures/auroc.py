"""AUROC, and true positive rate within a false positive budget (McKenzie et al. 2025, figure 12), as forest plots."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import altair as alt

from models_under_pressure.evaluation.differences import delong
from models_under_pressure.evaluation.measure import length_bins
from models_under_pressure.evaluation.report import percent as metric_name
from models_under_pressure.figures import NOTHING, ResultFigure, Results, Row, Rows, render, theme


def _rows(results: Results, name: str, metric: str) -> Rows:
    """One row per dataset and name; without the metric where one class is missing."""
    kept = {"n": "n", "positives": "positives"} | {f"{name}{end}": f"{metric}{end}" for end in ("", "_low", "_high")}
    return [
        {"dataset": dataset, "purpose": purpose, "probe": probe}
        | {told: row[key] for told, key in kept.items() if key in row}
        for dataset, purpose in results.purposes.items()
        for probe, row in results.metrics.get(dataset, {}).items()
    ]


def chart(rows: Sequence[Row], _: Results) -> alt.VConcatChart:
    """A line per dataset and probe: the interval as a bar, the estimate as a point; a panel per purpose."""
    return _forest(
        rows,
        "auroc",
        axis="AUROC",
        scale=theme.auroc_scale(rows),
        level=0.5,
        title="AUROC by dataset and monitor",
        told=["Point: estimate. Bar: 95 % grouped bootstrap interval. Dashed: chance."],
    )


def tpr_chart(rows: Sequence[Row], results: Results) -> alt.VConcatChart:
    """A line per dataset and probe: the interval as a bar, the estimate as a point; a panel per purpose."""
    return _forest(
        rows,
        "tpr",
        axis=f"True positive rate at {results.percent} false positives",
        scale=alt.Scale(domain=[0.0, 1.0], nice=False),
        level=results.budget,
        title=f"True positives within {results.percent} false positives",
        told=[
            "Point: the best threshold that keeps the budget on this dataset, never interpolated. Dashed: chance.",
            f"Bar: exact 95 % interval; it starts at 0 where a dataset has too few {results.words.classes.negative} "
            "records to bound it.",
        ],
    )


def finding(rows: Sequence[Row], _: Results) -> str:
    """The best mean of each purpose."""
    sentences: list[str] = []
    for purpose, best, mean, among, datasets in _best(rows, "auroc"):
        over = f"{datasets} {purpose} datasets" if datasets > 1 else f"the {purpose} dataset"
        sentences.append(
            f"{best} has a mean AUROC of {mean:.2f} over {over}{f', the highest of {among}' if among > 1 else ''}."
        )
    return " ".join(sentences) or NOTHING


def tpr_finding(rows: Sequence[Row], results: Results) -> str:
    """The best mean of each purpose within the budget."""
    sentences = [
        f"Within {results.percent} false positives, {best} finds most {results.words.classes.positive} records of the "
        f"{purpose} datasets: {mean:.0%}, mean over {datasets}."
        for purpose, best, mean, _, datasets in _best(rows, "tpr")
    ]
    return " ".join(sentences) or NOTHING


def length_rows(results: Results) -> Rows:
    """AUROC with DeLong's interval in bins of equal size: `bin`, `auroc`, `low`, `high`, `n`, `positives`.

    A bin that holds one class has no AUROC and no row.

    Raises:
        KeyError: a record has no length.
    """
    found: Rows = []
    for scores, origin in results.ranked():
        lengths = results.lengths[scores.dataset]
        names = length_bins([lengths[id_] for id_ in scores.ids], results.length_bins)
        for name in sorted(set(names)):
            inside = [row for row, bin_ in enumerate(names) if bin_ == name]
            labels = scores.labels[inside]
            if labels.all() or not labels.any():
                continue
            estimate = delong(scores.logits[inside], labels, [scores.groups[row] for row in inside])
            counts = {"n": len(inside), "positives": int(labels.sum())}
            found.append(origin | {"bin": name} | estimate.columns("auroc", "low", "high") | counts)
    return found


def length_chart(rows: Sequence[Row], results: Results) -> alt.ConcatChart:
    """A panel per dataset; a bin's label says its lengths and how many records it holds."""
    probes = theme.named(rows)
    x = alt.X("low:Q", title="AUROC", scale=theme.auroc_scale(rows, "low"))
    drawn: list[Any] = []
    for part in theme.split(rows, "dataset").values():
        told = [{**row, "name": f"{row['bin'].split(': ')[1]} (n = {row['n']:,})"} for row in part]
        order = theme.named(sorted(told, key=lambda row: row["bin"]), "name")
        base = theme.inline(told).encode(
            y=alt.Y("name:N", title=f"Length, {results.length_unit}", sort=order),
            yOffset=alt.YOffset("probe:N", sort=probes),
            color=theme.colour_by("probe", probes),
            tooltip=theme.tips("probe:N", "bin:N", "auroc:Q", "low:Q", "high:Q", "n:Q", "positives:Q"),
        )
        marks = theme.level_bars(base, x, "auroc", "high", size=45, shape=theme.shape_by("probe", probes))
        records = sum({row["bin"]: row["n"] for row in part}.values())
        whole = {"dataset": part[0]["dataset"], "n": records}
        drawn.append(theme.titled(alt.layer(theme.upright(0.5, (4, 4)), *marks), whole, height=44 * len(order)))
    return theme.panels(
        drawn,
        title="AUROC by length",
        subtitle="Bins of about equal number. Bars: 95 % interval (DeLong, grouped). Dashed: chance.",
        columns=3,
    )


def length_finding(rows: Sequence[Row], _: Results) -> str:
    """In how many datasets the shortest and the longest bin is the worst."""

    def told(probe: str, part: list[Row]) -> str:
        datasets = [sorted(own, key=lambda row: row["bin"]) for own in theme.split(part, "dataset").values()]
        worst = [min(range(len(own)), key=lambda place: own[place]["auroc"]) for own in datasets]
        short = sum(place == 0 for place in worst)
        long = sum(place == len(own) - 1 for place, own in zip(worst, datasets, strict=True))
        return (
            f"AUROC of {probe} is lowest among the shortest records in {short} and among the longest in {long} of "
            f"{len(datasets)} datasets."
        )

    return theme.of_each_probe(rows, told)


def length_template() -> Any:
    """A panel per dataset and probe, the interval of each bin and revision."""
    # Bins are named by number: their lengths differ by dataset, and panels that share no axis lose the offset.
    base = render.template_bars(
        alt.Y("number:N", title="Bin, shortest first"), "bin:N", "auroc:Q", "low:Q", "high:Q", "n:Q"
    )
    base = base.transform_calculate(number="split(datum.bin, ':')[0]")
    x = render.template_share("low", "AUROC", alt.X)
    marks = theme.level_bars(base, x, "auroc", "high", size=50, shape=render.template_shape())
    return render.template_grid(alt.layer(*marks), "AUROC by length", height=130)


FIGURES = {
    "auroc": ResultFigure(
        rows=lambda results: _rows(results, "auroc", "auroc"),
        chart=chart,
        finding=finding,
        template=lambda: _template("auroc", "AUROC", "AUROC with 95 % intervals"),
    ),
    "tpr": ResultFigure(
        rows=lambda results: _rows(results, "tpr", f"tpr_at_{metric_name(results.budget)}_fpr"),
        chart=tpr_chart,
        finding=tpr_finding,
        template=lambda: _template(
            "tpr", "True positive rate", "True positive rate within the budget, with 95 % intervals"
        ),
    ),
    "auroc_by_length": ResultFigure(length_rows, length_chart, length_finding, length_template),
}


def _best(rows: Sequence[Row], metric: str) -> list[tuple[str, str, float, int, int]]:
    """Of each purpose: the probe with the best mean, the mean, how many probes and how many datasets there are."""
    found: list[tuple[str, str, float, int, int]] = []
    for (purpose,), part in theme.split([row for row in rows if metric in row], "purpose").items():
        means = {probe: fmean(row[metric] for row in own) for (probe,), own in theme.split(part, "probe").items()}
        best = max(means, key=lambda probe: means[probe])
        found.append((purpose, best, means[best], len(means), len(theme.split(part, "dataset"))))
    return found


def _forest(
    rows: Sequence[Row], metric: str, *, axis: str, scale: alt.Scale, level: float, title: str, told: list[str]
) -> alt.VConcatChart:
    """One metric with its interval, a panel per purpose; `level` is dashed.

    Rows that lack the metric (one class is missing there) are named in the subtitle, never dropped in silence.
    """
    defined = [row for row in rows if metric in row]
    probes = theme.named(defined)
    x = alt.X(f"{metric}_low:Q", title=axis, scale=scale, axis=alt.Axis(tickCount=10))
    drawn = [
        _panel(part, probes, metric, x, level).properties(title=theme.heading(f"{purpose} datasets", offset=None))
        for (purpose,), part in theme.split(defined, "purpose").items()
    ]
    missing = sorted({row["dataset"] for row in rows if metric not in row})
    return theme.themed(
        alt.vconcat(*drawn, spacing=16),
        title=title,
        subtitle=[*told, *([f"Not shown, one class only: {', '.join(missing)}."] if missing else [])],
    )


def _panel(rows: Sequence[Row], probes: list[str], metric: str, x: alt.X, level: float) -> alt.LayerChart:
    told = [{**row, "name": f"{row['dataset']} (n = {row['n']:,})"} for row in rows]
    base = theme.inline(told).encode(
        y=alt.Y("name:N", title=None, sort=theme.named(told, "name")).scale(paddingInner=0.3),
        yOffset=alt.YOffset("probe:N", sort=probes),
        color=theme.colour_by("probe", probes),
        tooltip=theme.tips(
            "dataset:N",
            "probe:N",
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in (metric, f"{metric}_low", f"{metric}_high")),
            "n:Q",
            "positives:Q",
        ),
    )
    dashed = theme.inline([{"level": level}]).mark_rule(strokeDash=[4, 4], color=theme.MUTED).encode(x="level:Q")
    marks = theme.level_bars(base, x, metric, size=64, shape=theme.shape_by("probe", probes))
    step = alt.Step(max(13, 30 // max(len(probes), 1)), **{"for": "offset"})
    return theme.panel(dashed, *marks, width=520, height=step)


def _template(metric: str, axis: str, title: str) -> Any:
    """A panel per dataset, the interval of each probe and revision."""
    base = render.template_bars(alt.Y("probe:N", title=None), "n:Q")
    x = alt.X(f"{metric}_low:Q", title=axis, scale=alt.Scale(zero=False), axis=alt.Axis(grid=True))
    marks = theme.level_bars(base, x, metric, size=50, shape=render.template_shape())
    return render.template_rows(alt.layer(*marks).properties(width=420), title)
