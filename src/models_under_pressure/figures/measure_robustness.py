"""Heat maps of what changes of the conversations do to each probe: AUROC, and rates at the stored threshold."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.evaluation.rows import RobustnessRow
from models_under_pressure.figures import ExperimentFigure, theme

CONTROL = "permuted_labels"
_NAMES = {"auroc": "AUROC", "tpr": "TPR at the stored threshold", "fpr": "FPR at the stored threshold"}
_CELL, _HEIGHT = 92, 34
_UNCHANGED = "none"


def chart(rows: Sequence[RobustnessRow]) -> alt.VConcatChart:
    """A map per metric, over the mean of the datasets: a row per change, a column per probe, and the control."""
    found = _tried(rows)
    first = found[0]
    left_out = [f"Not tried: {row['change']} ({row['left_out']})." for row in rows if "left_out" in row]
    maps: Any = alt.vconcat(*(_map(found, metric) for metric in _NAMES), spacing=28)
    return theme.themed(
        maps.resolve_scale(color="independent"),
        title="Robustness: probes under changes that keep the stakes of a conversation",
        subtitle=[
            f"Mean over {first.get('datasets')} sets, n = {first.get('n'):,} conversations.",
            "In a cell: the value; below it what the change did, with its paired 95 % interval (grouped bootstrap).",
            f"{CONTROL}: mean probes fitted on shuffled labels, which must stay at 0.5 (95 % interval over shuffles).",
            *left_out,
        ],
    )


def finding(rows: Sequence[RobustnessRow]) -> str:
    """AUROC of each probe without a change, and under the one that hurts it most."""
    told: list[str] = []
    for name, (before, worst) in _ends(rows).items():
        told.append(f"{name} {before['auroc']:.2f}, at worst {worst['auroc']:.2f} ({worst['change']})")
    return f"Mean AUROC without and under the worst change: {'; '.join(told)}."


def summary(rows: Sequence[RobustnessRow]) -> dict[str, Any]:
    """Of each probe AUROC without a change and under the worst one; and the control's farthest distance from 0.5."""
    found: dict[str, Any] = {
        name: {"unchanged": before["auroc"], "worst": worst["auroc"]} for name, (before, worst) in _ends(rows).items()
    }
    distances = [abs(row["auroc"] - 0.5) for row in _tried(rows) if row.get("probe") == CONTROL]
    return found | {CONTROL: {"farthest_from_chance": round(max(distances), 4)}}


FIGURES = {"measure_robustness": ExperimentFigure("measure_robustness.jsonl", chart, finding, summary)}


def _tried(rows: Sequence[RobustnessRow]) -> list[Any]:
    """Means over datasets of the changes that were tried."""
    return [row for row in theme.means(rows) if "probe" in row]


def _ends(rows: Sequence[RobustnessRow]) -> dict[str, tuple[Any, Any]]:
    """Probe -> its row without a change, and the one with the lowest AUROC."""
    found: dict[str, tuple[Any, Any]] = {}
    for (name,), own in theme.split(_tried(rows), "probe").items():
        if name != CONTROL:
            before = next(row for row in own if row["kind"] == _UNCHANGED)
            found[name] = before, min(own, key=lambda row: row["auroc"])
    return found


def _map(rows: Sequence[Any], metric: str) -> alt.LayerChart:
    shown = [row for row in rows if metric in row]
    cells = [{"change": _told(row), "probe": row["probe"], "value": row[metric]} | _texts(row, metric) for row in shown]
    probes, changes = theme.named(cells), theme.named(cells, "change")
    base = theme.inline(cells).encode(
        x=alt.X(
            "probe:N",
            title=None,
            sort=probes,
            axis=alt.Axis(
                labelAngle=0,
                labelExpr="replace(datum.label, /_/g, ' ')",
                labelFontSize=11,
                domain=False,
                ticks=False,
                orient="top",
            ),
        ),
        y=alt.Y("change:N", title=None, sort=changes, axis=alt.Axis(domain=False, ticks=False, labelLimit=260)),
        tooltip=theme.tips("change:N", "probe:N", "value:Q", "detail:N"),
    )
    low = 0.5 if metric == "auroc" else 0.0
    ends = theme.ORANGES if metric == "fpr" else theme.BLUES
    fill = alt.Color(
        "value:Q",
        scale=alt.Scale(domain=[low, 1.0], range=list(ends), clamp=True),
        legend=None,  # the values stand in the cells
    )
    return theme.panel(
        base.mark_rect(stroke="white", strokeWidth=2).encode(color=fill),
        base.mark_text(fontSize=13, fontWeight="bold", dy=-6, color=theme.INK).encode(text="text:N"),
        base.mark_text(fontSize=9, dy=9, color=theme.INK).encode(text="detail:N"),
        title=theme.heading(_NAMES[metric]),
        width=_CELL * len(probes),
        height=_HEIGHT * len(changes),
    )


def _told(row: Any) -> str:
    """The change in words, with the mean length that it leads to."""
    what = "unchanged" if row["kind"] == _UNCHANGED else row["change"].replace("_", " ")
    cut = f", {row['less_benign']} got less" if row["less_benign"] else ""
    return f"{what} ({row['tokens']:,.0f} tokens{cut})"


def _texts(row: Any, metric: str) -> dict[str, str]:
    """What stands in a cell: the value, then the change with its interval, or the interval where there is no change."""
    name = f"{metric}_change" if f"{metric}_change" in row else metric
    ends = f"[{_signed(row[f'{name}_low'], name)}, {_signed(row[f'{name}_high'], name)}]"
    moved = f"{_signed(row[name], name)} " if name != metric else ""
    return {"text": f"{row[metric]:.2f}", "detail": f"{moved}{ends}"}


def _signed(value: float, name: str) -> str:
    return (f"{value:+.2f}" if name.endswith("_change") else f"{value:.2f}").replace("-", "\N{MINUS SIGN}")
