"""Charts to files: self-contained Vega-Lite and pictures, and what `dvc plots diff` overlays two revisions with."""

import json
import re
from pathlib import Path
from typing import Any

import altair as alt

from models_under_pressure.core.files import atomic_path, write_json, write_text
from models_under_pressure.figures import ResultFigure, Rows, declared
from models_under_pressure.figures.theme import COLOURS, MUTED, RULE, SHAPES

_PNG_SCALE = 2.0
"""Pixels per unit: sharp on high-density screens and in print."""
_DVC_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
"""DVC's page loads Vega-Lite 5, so that its templates use nothing newer and say so."""
_DVC_SIDE = 180


def spec(chart: Any, finding: str = "") -> dict[str, Any]:
    """The chart as a Vega-Lite specification with its data inline, equal for equal charts.

    Altair names views and parameters by a counter that runs for the whole process; the names are numbered afresh here,
    so that a figure does not depend on which were drawn before it. `finding` says what the chart shows, for readers who
    cannot see it; it becomes the specification's `description`.
    """
    with alt.data_transformers.enable("default", consolidate_datasets=False, max_rows=None):
        drawn = chart.to_dict() | ({"description": finding} if finding else {})
        text = json.dumps(drawn, sort_keys=True, ensure_ascii=False, allow_nan=False)
    names = dict.fromkeys(re.findall(r'"((?:view|param|concat|layer)_\d+)', text))
    for number, name in enumerate(names, start=1):
        text = re.sub(rf'"{name}(?=["_])', f'"{name.split("_")[0]}_n{number}', text)
    return json.loads(text)


def write_chart(chart: Any, path: Path, *, finding: str = "", pictures: bool = False) -> dict[str, Any]:
    """Write the chart and its finding as Vega-Lite JSON to `path`; if asked, as SVG and PNG beside it.

    All atomically. Returns the specification.
    """
    specification = spec(chart, finding)
    write_text(path, json.dumps(specification, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n")
    if pictures:
        write_pictures(specification, path)
    return specification


def write_pictures(specification: dict[str, Any], path: Path) -> None:
    """Draw a specification as SVG and, from that, as PNG, at `path` with these endings; both atomically."""
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(specification)
    write_text(path.with_suffix(".svg"), drawn)
    with atomic_path(path.with_suffix(".png")) as temporary:
        temporary.write_bytes(vl_convert.svg_to_png(drawn, scale=_PNG_SCALE))


def write_rows(rows: Rows, path: Path) -> None:
    """Write a figure's rows as DVC reads plot data: a JSON list, one row a line, so that `git diff` reads well."""
    lines = ",\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False) for row in rows)
    write_text(path, f"[\n{lines}\n]\n" if rows else "[]\n")


def write_templates(folder: Path) -> None:
    """Write the template of every figure of scores to `folder` (`.dvc/plots`), as `<name>.json`."""
    for name, figure in declared(ResultFigure).items():
        write_json(folder / f"{name}.json", figure.template().to_dict() | {"$schema": _DVC_SCHEMA})


def template() -> alt.Chart:
    """A template's chart of the rows of every revision, which DVC fills in with their `rev`."""
    return alt.Chart(alt.InlineData(values="<DVC_METRIC_DATA>"))


def template_bars(y: alt.Y, *tooltip: str) -> alt.Chart:
    """A template's chart with a row per value of `y` and revision."""
    told = ["rev:N", *tooltip]
    return template().encode(y=y, yOffset=alt.YOffset("rev:N"), color=template_colour(), tooltip=told)


def template_colour() -> alt.Color:
    """Colour by revision."""
    legend = alt.Legend(symbolOpacity=1)
    return alt.Color("rev:N", title="Revision", scale=alt.Scale(range=list(COLOURS)), legend=legend)


def template_shape() -> alt.Shape:
    """Shape by revision, which says again what colour says."""
    return alt.Shape("rev:N", scale=alt.Scale(range=list(SHAPES)), legend=None)


def template_share(field: str, title: str, axis: type[alt.X] | type[alt.Y]) -> Any:
    """An axis from 0 to 1 of a template."""
    return axis(f"{field}:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5))


def template_grid(chart: Any, title: str, *, height: int = _DVC_SIDE) -> Any:
    """A template with a panel per dataset and probe."""
    sized = chart.properties(width=_DVC_SIDE, height=height)
    return template_rows(sized, title, column=alt.Column("probe:N", title=None))


def template_rows(chart: Any, title: str, **facets: alt.Column) -> Any:
    """A template with a panel per dataset."""
    header = alt.Header(labelAngle=0, labelAlign="left")
    faceted = chart.facet(row=alt.Row("dataset:N", title=None, header=header), **facets)
    return faceted.properties(title=title, background="white").configure_axis(gridColor=RULE, titleColor=MUTED)
