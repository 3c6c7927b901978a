"""Forest plot: AUROC with intervals, over probes and datasets."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.theme import MUTED, colour_scale, shape_scale, themed

Row = Mapping[str, Any]
"""One probe on one dataset: `dataset`, `probe`, `auroc`, `auroc_low`, `auroc_high`, `n`, and, to part the figure into
panels, `purpose` (dev or test)."""


def rows(metrics: Mapping[str, Mapping[str, Row]], purposes: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row per dataset and name, in the order of `purposes`; without `auroc` where one class is missing."""
    kept = ("n", "positives", "auroc", "auroc_low", "auroc_high")
    return [
        {"dataset": dataset, "purpose": purpose, "probe": probe, **{name: row[name] for name in kept if name in row}}
        for dataset, purpose in purposes.items()
        for probe, row in metrics.get(dataset, {}).items()
    ]


def chart(rows: Sequence[Row]) -> alt.VConcatChart:
    """A line per dataset and probe: the interval as a bar, the estimate as a point, chance dashed; a panel per purpose.

    Rows that have no `auroc` (one class is missing there) are named in the subtitle, never dropped in silence.
    """
    defined = [row for row in rows if "auroc" in row]
    probes = list(dict.fromkeys(row["probe"] for row in defined))
    lowest = min([0.5, *(row["auroc_low"] for row in defined)])
    scale = alt.Scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False, nice=False)
    panels = [
        _panel([row for row in defined if row.get("purpose") == purpose], probes, scale).properties(
            title=alt.TitleParams(f"{purpose} datasets", anchor="start", frame="group", fontSize=13)
            if purpose
            else alt.Undefined
        )
        for purpose in dict.fromkeys(row.get("purpose") for row in defined)
    ]
    missing = sorted({row["dataset"] for row in rows if "auroc" not in row})
    return themed(
        alt.vconcat(*panels, spacing=16),
        title="AUROC by dataset and monitor",
        subtitle=[
            "Point: estimate. Bar: 95 % grouped bootstrap interval. Dashed: chance.",
            *([f"Not shown, one class only: {', '.join(missing)}."] if missing else []),
        ],
    )


def _panel(rows: Sequence[Row], probes: list[str], scale: alt.Scale) -> Any:
    names = list(dict.fromkeys(_name(row) for row in rows))
    colour = alt.Color("probe:N", title="Monitor", scale=colour_scale(probes), sort=probes)
    base = alt.Chart(alt.InlineData(values=[dict(row) | {"name": _name(row)} for row in rows])).encode(
        y=alt.Y("name:N", title=None, sort=names).scale(paddingInner=0.3),
        yOffset=alt.YOffset("probe:N", sort=probes),
        color=colour,
        tooltip=[
            "dataset:N",
            "probe:N",
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("auroc", "auroc_low", "auroc_high")),
            "n:Q",
            "positives:Q",
        ],
    )
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("auroc_low:Q", title="AUROC", scale=scale), x2="auroc_high:Q")
    points = base.mark_point(filled=True, size=64, opacity=1).encode(
        x="auroc:Q", shape=alt.Shape("probe:N", title="Monitor", scale=shape_scale(probes), sort=probes)
    )
    chance = (
        alt.Chart(alt.InlineData(values=[{"chance": 0.5}]))
        .mark_rule(strokeDash=[4, 4], color=MUTED)
        .encode(x="chance:Q")
    )
    step = alt.Step(max(13, 30 // max(len(probes), 1)), **{"for": "offset"})
    return alt.layer(chance, bars, points).properties(width=520, height=step)


def _name(row: Row) -> str:
    return f"{row['dataset']} (n = {row['n']:,})"
