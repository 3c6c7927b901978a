"""AUROC by the length of the conversation."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.evaluation.differences import delong
from models_under_pressure.evaluation.measure import length_bins
from models_under_pressure.figures import ResultFigure, Results, Row, Rows, render, theme


def rows(results: Results) -> Rows:
    """AUROC with DeLong's interval in bins of equal size: `bin`, `auroc`, `low`, `high`, `n`, `positives`.

    A bin that holds one class has no AUROC and no row.

    Raises:
        KeyError: a record has no length.
    """
    found: Rows = []
    for scores, _ in results.ranked():
        lengths = results.lengths[scores.dataset]
        names = length_bins([lengths[id_] for id_ in scores.ids], results.length_bins)
        for name in sorted(set(names)):
            inside = [row for row, bin_ in enumerate(names) if bin_ == name]
            labels = scores.labels[inside]
            if labels.all() or not labels.any():
                continue
            estimate = delong(scores.logits[inside], labels, [scores.groups[row] for row in inside])
            found.append(
                {
                    "dataset": scores.dataset,
                    "probe": scores.probe,
                    "bin": name,
                    "auroc": round(estimate.value, 4),
                    "low": round(estimate.low, 4),
                    "high": round(estimate.high, 4),
                    "n": len(inside),
                    "positives": int(labels.sum()),
                }
            )
    return found


def chart(rows: Sequence[Row], results: Results) -> alt.ConcatChart:
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
            tooltip=["probe:N", "bin:N", "auroc:Q", "low:Q", "high:Q", "n:Q", "positives:Q"],
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


def finding(rows: Sequence[Row], _: Results) -> str:
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


def template() -> Any:
    """A panel per dataset and probe, the interval of each bin and revision."""
    # Bins are named by number: their lengths differ by dataset, and panels that share no axis lose the offset.
    base = render.template_bars(
        alt.Y("number:N", title="Bin, shortest first"), "bin:N", "auroc:Q", "low:Q", "high:Q", "n:Q"
    )
    base = base.transform_calculate(number="split(datum.bin, ':')[0]")
    x = render.template_share("low", "AUROC", alt.X)
    marks = theme.level_bars(base, x, "auroc", "high", size=50, shape=render.template_shape())
    return render.template_grid(alt.layer(*marks), "AUROC by length", height=130)


FIGURES = {"auroc_by_length": ResultFigure(rows, chart, finding, template)}
