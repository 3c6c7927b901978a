"""Probe families, and the wordings that a model was asked with, compared: the mean over datasets, and each dataset."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import altair as alt

from models_under_pressure.evaluation.rows import LayerChoice, ProbeRow, WordingRow
from models_under_pressure.figures import ExperimentFigure, Row, theme

_CHOICES = {True: "used on the test sets", False: "tried"}


def probes_chart(rows: Sequence[ProbeRow]) -> alt.VConcatChart:
    """AUROC with its interval, and a tick for each seed; probes by falling mean over the test sets."""
    purpose = theme.named(rows, "purpose")[-1]
    purposes = theme.split(theme.means(rows), "purpose")
    order = [row["probe"] for row in sorted(purposes[purpose,], key=lambda row: -row["auroc"])]
    scale = theme.auroc_scale(rows)
    overall = [
        _probes_panel(part, order, scale, f"mean of {part[0].get('datasets')} {name} sets").properties(width=330)
        for (name,), part in purposes.items()
    ]
    each = [
        _probes_panel(part, order, scale, name).properties(width=210)
        for (name,), part in theme.split([row for row in rows if row["dataset"] != "mean"], "dataset").items()
    ]
    seeds = rows[0]["seeds"]
    return theme.themed(
        alt.vconcat(alt.hconcat(*overall, spacing=24), alt.concat(*each, columns=3, spacing=20), spacing=20),
        title="AUROC of probe families",
        subtitle=[
            f"Point: mean over {seeds} seeds. Bar: 95 % interval over records and seeds. Small ticks: single seeds.",
            f"Dashed: chance. Probes by falling mean over the {purpose} sets.",
        ],
    )


def probes_finding(rows: Sequence[ProbeRow]) -> str:
    """The highest and the lowest mean of each purpose."""
    told: list[str] = []
    for (purpose,), part in theme.split(theme.means(rows), "purpose").items():
        ordered = sorted(part, key=lambda row: -row["auroc"])
        first, last = ordered[0], ordered[-1]
        told.append(
            f"Mean AUROC over {first.get('datasets')} {purpose} sets: highest {first['probe']} "
            f"{theme.estimate(first)}, lowest {last['probe']} {theme.estimate(last)}."
        )
    return " ".join(told)


def wordings_chart(rows: Sequence[WordingRow]) -> alt.VConcatChart:
    """The mean over dev sets in a large panel, each dev set in a small one; a line per model and wording."""
    scale = theme.auroc_scale(rows)
    parts = {name: part for (name,), part in theme.split(rows, "dataset").items()}
    large = _wordings_panel(parts.pop("mean"), scale).properties(width=420)
    small = [_wordings_panel(part, scale).properties(width=230) for part in parts.values()]
    templates = {model: theme.named(part, "template") for (model,), part in theme.split(rows, "model").items()}
    alone = [model for model, names in templates.items() if len(names) == 1]
    return theme.themed(
        alt.vconcat(large, alt.concat(*small, columns=2, spacing=20), spacing=20),
        title="Wordings of the question",
        subtitle=[
            "The wording with the best mean over the dev sets is used on the test sets; here it is therefore a little "
            "too good.",
            "Bars: 95 % interval (DeLong, grouped; mean by MOVER). Dashed: chance.",
            *(
                [f"Asked with one wording only (`templates` in prompt_baseline.models): {', '.join(alone)}."]
                if alone
                else []
            ),
        ],
    )


def wordings_finding(rows: Sequence[WordingRow]) -> str:
    """The mean of each wording."""
    told = [
        f"{model}: {', '.join(row['template'].replace('_', ' ') + ' ' + theme.estimate(row) for row in part)}"
        for (model,), part in theme.split(theme.means(rows), "model").items()
    ]
    return f"Mean AUROC over the dev sets by wording: {'; '.join(told)}."


def _summary(rows: Sequence[Row], outer: str, inner: str) -> dict[str, Any]:
    """Value of one field -> value of another -> mean AUROC."""
    parts = theme.split(theme.means(rows), outer).items()
    return {name: {row[inner]: row["auroc"] for row in part} for (name,), part in parts}


def layers_chart(found: LayerChoice) -> alt.LayerChart:
    """A line through the layers with intervals, each fold as a small point, the chosen layer marked."""
    rows = found["layers"]
    base = theme.inline(rows).encode(
        x=alt.X(
            "layer:Q",
            title="Layer (decoder block, from 0)",
            axis=alt.Axis(tickMinStep=1),
            scale=alt.Scale(nice=False, padding=12),
        ),
        tooltip=theme.tips("layer:Q", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "accuracy:Q", "n:Q"),
    )
    lowest = min(min(row["auroc_low"], *row["auroc_of_each"]) for row in rows)
    scale = alt.Scale(domain=[max(0.0, lowest - 0.02), 1.0], zero=False, nice=False)
    each = [{"layer": row["layer"], "fold": value} for row in rows for value in row["auroc_of_each"]]
    folds = theme.inline(each).mark_point(filled=True, size=18, color=theme.COLOURS[6], opacity=0.8, xOffset=7)
    folds = folds.encode(x="layer:Q", y="fold:Q")
    low = alt.Y("auroc_low:Q", title="Cross-validated AUROC", scale=scale)
    bars = base.mark_rule(strokeWidth=2, color=theme.COLOURS[0]).encode(y=low, y2="auroc_high:Q")
    point = alt.OverlayMarkDef(size=60, filled=True, color=theme.COLOURS[0])
    line = base.mark_line(color=theme.COLOURS[0], point=point).encode(y="auroc:Q")
    chosen = theme.inline([{"layer": found["layer"], "name": f"chosen: {found['layer']}"}]).encode(x="layer:Q")
    rule = chosen.mark_rule(strokeDash=[4, 4], color=theme.MUTED)
    label = chosen.mark_text(align="left", dx=5, baseline="top", color=theme.MUTED, fontSize=12)
    label = label.encode(y=alt.value(2), text="name:N")
    return theme.themed(
        theme.panel(rule, folds, bars, line, label, width=520, height=280),
        title=f"Which layer: {found['probe']} probe on the training prompts",
        subtitle=[
            f"Mean over {rows[0]['folds']} folds of whole groups, n = {rows[0]['n']:,}. Bar: 95 % interval. "
            "Grey: single folds.",
            f"Rule: {found['rule'].replace('_', ' ')}.",
        ],
    )


def layers_finding(found: LayerChoice) -> str:
    """The layer chosen, and its AUROC."""
    row = next(row for row in found["layers"] if row["layer"] == found["layer"])
    rule = found["rule"].replace("_", " ")
    return f"Layer {found['layer']} is chosen (rule: {rule}): cross-validated AUROC {theme.estimate(row)}."


def layers_summary(found: LayerChoice) -> dict[str, Any]:
    """The layer chosen, and AUROC of every layer."""
    return {"chosen": found["layer"]} | {f"layer_{row['layer']}": row["auroc"] for row in found["layers"]}


FIGURES = {
    "choose_layer": ExperimentFigure("choose_layer.json", layers_chart, layers_finding, layers_summary),
    "compare_probes": ExperimentFigure(
        "compare_probes.jsonl", probes_chart, probes_finding, partial(_summary, outer="purpose", inner="probe")
    ),
    "compare_templates": ExperimentFigure(
        "compare_templates.jsonl", wordings_chart, wordings_finding, partial(_summary, outer="model", inner="template")
    ),
}


def _probes_panel(rows: Sequence[ProbeRow], order: list[str], scale: alt.Scale, name: str) -> alt.LayerChart:
    base = theme.inline(rows).encode(
        y=alt.Y("probe:N", title=None, sort=order),
        tooltip=theme.tips(
            "dataset:N", "probe:N", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "tpr_at_1pct_fpr:Q", "n:Q"
        ),
    )
    x = alt.X("auroc_low:Q", title="AUROC", scale=scale, axis=alt.Axis(tickMinStep=0.1))
    marks = theme.level_bars(base, x, "auroc", size=50, color=theme.COLOURS[0])
    single = [{"probe": row["probe"], "auroc": value} for row in rows for value in row.get("auroc_of_each", ())]
    ticks = theme.inline(single).mark_tick(thickness=1.5, size=8, color=theme.COLOURS[1], yOffset=5)
    ticks = ticks.encode(x="auroc:Q", y=alt.Y("probe:N", sort=order))
    title = theme.heading(f"{name} (n = {rows[0]['n']:,})", offset=None)
    layers = [theme.upright(0.5, (4, 4)), *([ticks] if single else []), *marks]
    return theme.panel(*layers, title=title, height=alt.Step(17))


def _wordings_panel(rows: Sequence[WordingRow], scale: alt.Scale) -> alt.LayerChart:
    told: list[Row] = [
        {**row, "name": f"{row['model']}: {row['template']}", "use": _CHOICES[row["chosen"]]} for row in rows
    ]
    uses = list(_CHOICES.values())
    base = theme.inline(told).encode(
        y=alt.Y("name:N", title=None, sort=[row["name"] for row in told]),
        color=theme.colour_by("use", uses, "Wording"),
        tooltip=theme.tips(
            "model:N", "template:N", "use:N", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "n:Q", "positives:Q"
        ),
    )
    x = alt.X("auroc_low:Q", title="AUROC", scale=scale, axis=alt.Axis(tickCount=6))
    marks = theme.level_bars(base, x, "auroc", size=55, shape=theme.shape_by("use", uses, "Wording"))
    return theme.panel(theme.upright(0.5), *marks, height=alt.Step(24), title=theme.dataset_heading(rows))
