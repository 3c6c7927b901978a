"""Templates with which `dvc plots diff` overlays the revisions of a figure's rows.

DVC fills a template with the rows of every revision, and adds `rev`. Its page loads Vega-Lite 5, so that the templates
use nothing newer and say so.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt

from models_under_pressure.core.files import write_json, write_text
from models_under_pressure.figures.theme import COLOURS, MUTED, SHAPES

_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_SIDE = 180


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a figure's rows as DVC reads plot data: a JSON list, one row a line, so that `git diff` reads well."""
    lines = ",\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False) for row in rows)
    write_text(path, f"[\n{lines}\n]\n" if rows else "[]\n")


def write_templates(folder: Path) -> None:
    """Write every template to `folder` (`.dvc/plots`), as `<name>.json`."""
    for name, template in TEMPLATES.items():
        specification = template().to_dict() | {"$schema": _SCHEMA}
        write_json(folder / f"{name}.json", specification)


def roc() -> Any:
    """Rows of `figures.roc`: a panel per dataset and probe, a line per revision."""
    return _curves("fpr", "False positive rate", "tpr", "True positive rate", "linear", "ROC curves")


def precision_recall() -> Any:
    """Rows of `figures.precision_recall`: a panel per dataset and probe, a line per revision."""
    return _curves("recall", "Recall", "precision", "Precision", "step-before", "Precision and recall")


def reliability() -> Any:
    """Rows of `figures.reliability`: a panel per dataset and probe, points with intervals per revision."""
    base = _data().encode(x=_share("forecast", "Mean forecast", alt.X), color=_revision())
    layers = alt.layer(
        base.mark_rule(opacity=0.4).encode(y=_share("low", "Observed share", alt.Y), y2="high:Q"),
        base.mark_point(filled=True, size=40, opacity=1).encode(
            y=_share("observed", "Observed share", alt.Y), shape=_shape()
        ),
    )
    return _grid(layers, "Reliability")


def auroc() -> Any:
    """Rows of `figures.auroc`: a panel per dataset, the interval of each probe and revision."""
    return _forest("auroc", "AUROC", "AUROC with 95 % intervals")


def tpr() -> Any:
    """Rows of `figures.tpr`: a panel per dataset, the interval of each probe and revision."""
    return _forest("tpr", "True positive rate", "True positive rate within the budget, with 95 % intervals")


def _forest(metric: str, axis_title: str, title: str) -> Any:
    base = _data().encode(
        y=alt.Y("probe:N", title=None), yOffset=alt.YOffset("rev:N"), color=_revision(), tooltip=["rev:N", "n:Q"]
    )
    axis = alt.Axis(grid=True)
    layers = alt.layer(
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X(f"{metric}_low:Q", title=axis_title, scale=alt.Scale(zero=False), axis=axis), x2=f"{metric}_high:Q"
        ),
        base.mark_point(filled=True, size=50, opacity=1).encode(x=f"{metric}:Q", shape=_shape()),
    ).properties(width=420)
    return _themed(layers.facet(row=alt.Row("dataset:N", title=None, header=_header())), title)


def score_histogram() -> Any:
    """Rows of `figures.score_histogram`: high-stakes below the axis, bars that show those of the other revision."""
    bars = (
        _data()
        .transform_calculate(bar="datum.label == 'high-stakes' ? -datum.share : datum.share")
        .mark_bar(opacity=0.45)
        .encode(
            x=_share("low", "Probability of high stakes", alt.X),
            x2="high:Q",
            y=alt.Y(
                "bar:Q",
                title="Share: low-stakes up, high down",
                stack=None,
                axis=alt.Axis(labelExpr="format(abs(datum.value), '.0%')", tickCount=5),
            ),
            y2=alt.Y2Datum(0),
            color=_revision(),
            tooltip=["rev:N", "label:N", "low:Q", "high:Q", "count:Q", "share:Q"],
        )
    )
    return _grid(bars, "Scores by label")


def confusion() -> Any:
    """Rows of `figures.confusion`: a panel per dataset and probe, the share of each label that is flagged."""
    flagged = _data().transform_filter("datum.flagged == 'flagged'")
    base = flagged.encode(
        y=alt.Y("label:N", title=None),
        yOffset=alt.YOffset("rev:N"),
        x=_share("share", "Share flagged", alt.X),
        color=_revision(),
        tooltip=["rev:N", "label:N", "count:Q", "share:Q", "n:Q"],
    )
    return _grid(base.mark_bar(height=12), "Flagged at the threshold", height=90)


def auroc_by_length() -> Any:
    """Rows of `figures.auroc_by_length`: a panel per dataset and probe, the interval of each bin and revision."""
    # Bins are named by number: their lengths differ by dataset, and panels that share no axis lose the offset.
    base = (
        _data()
        .transform_calculate(number="split(datum.bin, ':')[0]")
        .encode(
            y=alt.Y("number:N", title="Bin, shortest first"),
            yOffset=alt.YOffset("rev:N"),
            color=_revision(),
            tooltip=["rev:N", "bin:N", "auroc:Q", "low:Q", "high:Q", "n:Q"],
        )
    )
    layers = alt.layer(
        base.mark_rule(strokeWidth=2).encode(x=_share("low", "AUROC", alt.X), x2="high:Q"),
        base.mark_point(filled=True, size=50, opacity=1).encode(x="auroc:Q", shape=_shape()),
    )
    return _grid(layers, "AUROC by length", height=130)


TEMPLATES: dict[str, Callable[[], Any]] = {
    "auroc": auroc,
    "tpr": tpr,
    "roc": roc,
    "precision_recall": precision_recall,
    "score_histogram": score_histogram,
    "reliability": reliability,
    "confusion": confusion,
    "auroc_by_length": auroc_by_length,
}
"""Name of the template, which is that of its figure -> the template."""


def _curves(x: str, x_title: str, y: str, y_title: str, interpolate: Any, title: str) -> Any:
    line = _data().mark_line(interpolate=interpolate, strokeWidth=1.6)
    line = line.encode(
        x=_share(x, x_title, alt.X),
        y=_share(y, y_title, alt.Y),
        order="rank:Q",
        color=_revision(),
        strokeDash=alt.StrokeDash("rev:N", title="Revision"),
    )
    return _grid(line, title)


def _data() -> alt.Chart:
    return alt.Chart(alt.InlineData(values="<DVC_METRIC_DATA>"))


def _grid(chart: Any, title: str, *, height: int = _SIDE) -> Any:
    faceted = chart.properties(width=_SIDE, height=height).facet(
        row=alt.Row("dataset:N", title=None, header=_header()), column=alt.Column("probe:N", title=None)
    )
    return _themed(faceted, title)


def _themed(chart: Any, title: str) -> Any:
    return chart.properties(title=title, background="white").configure_axis(gridColor="#dddddd", titleColor=MUTED)


def _header() -> alt.Header:
    return alt.Header(labelAngle=0, labelAlign="left")


def _revision() -> alt.Color:
    legend = alt.Legend(symbolOpacity=1)
    return alt.Color("rev:N", title="Revision", scale=alt.Scale(range=list(COLOURS)), legend=legend)


def _shape() -> alt.Shape:
    return alt.Shape("rev:N", scale=alt.Scale(range=list(SHAPES)), legend=None)


def _share(field: str, title: str, axis: type[alt.X] | type[alt.Y]) -> Any:
    return axis(f"{field}:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5))
