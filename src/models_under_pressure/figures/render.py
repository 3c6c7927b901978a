"""Charts to files: self-contained Vega-Lite JSON, and PNG or SVG drawn without a browser or a network."""

import json
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import atomic_path, write_text

_PNG_SCALE = 2.0
"""Pixels per unit: sharp on high-density screens and in print."""


def spec(chart: Any, finding: str = "") -> dict[str, Any]:
    """The chart as a Vega-Lite specification with its data inline, equal for equal charts.

    Altair names views and parameters by a counter that runs for the whole process; the names are numbered afresh here,
    so that a figure does not depend on which were drawn before it. `finding` says what the chart shows, for readers who
    cannot see it; it becomes the specification's `description`.
    """
    import altair as alt

    with alt.data_transformers.enable("default", consolidate_datasets=False, max_rows=None):
        drawn = chart.to_dict() | ({"description": finding} if finding else {})
        text = json.dumps(drawn, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return json.loads(_renumber(text))


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


def _renumber(text: str) -> str:
    import re

    names = dict.fromkeys(re.findall(r'"((?:view|param|concat|layer)_\d+)', text))
    for number, name in enumerate(names, start=1):
        text = re.sub(rf'"{name}(?=["_])', f'"{name.split("_")[0]}_n{number}', text)
    return text
