"""AUROC of every wording that a model was asked with."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.by_size import auroc_scale, panel_title
from models_under_pressure.figures.panels import Row, inline, split, upright
from models_under_pressure.figures.theme import COLOURS, themed

_CHOICES = {True: "used on the test sets", False: "tried"}


def chart(rows: Sequence[Row]) -> alt.VConcatChart:
    """The mean over dev sets in a large panel, each dev set in a small one; a line per model and wording.

    `rows` are those of `experiments.compare_templates`.
    """
    scale = auroc_scale(rows)
    parts = {name: _panel(part, scale) for (name,), part in split(rows, "dataset").items()}
    titles = {name: panel_title(name, part) for (name,), part in split(rows, "dataset").items()}
    large = parts.pop("mean").properties(width=420, title=titles.pop("mean"))
    small = [panel.properties(width=230, title=titles[name]) for name, panel in parts.items()]
    return themed(
        alt.vconcat(large, alt.concat(*small, columns=2, spacing=20), spacing=20),
        title="Wordings of the question",
        subtitle=[
            "The wording with the best mean over the dev sets is used on the test sets; here it is therefore a little "
            "too good.",
            "Bars: 95 % interval (DeLong, grouped; mean by MOVER). Dashed: chance.",
            *_alone(rows),
        ],
    )


def _alone(rows: Sequence[Row]) -> list[str]:
    """A line for the models that were asked with one wording, for which there is nothing to compare."""
    models = {row["model"]: {other["template"] for other in rows if other["model"] == row["model"]} for row in rows}
    alone = [model for model, templates in models.items() if len(templates) == 1]
    return (
        [f"Asked with one wording only (`templates` in prompt_baseline.models): {', '.join(alone)}."] if alone else []
    )


def _panel(rows: Sequence[Row], scale: alt.Scale) -> Any:
    told = [{**row, "name": f"{row['model']}: {row['template']}", "use": _CHOICES[row["chosen"]]} for row in rows]
    uses = list(_CHOICES.values())
    colours = alt.Scale(domain=uses, range=list(COLOURS[:2]))
    base = inline(told).encode(
        y=alt.Y("name:N", title=None, sort=[row["name"] for row in told]),
        color=alt.Color("use:N", title="Wording", scale=colours, sort=uses),
        tooltip=["model:N", "template:N", "use:N", "auroc:Q", "auroc_low:Q", "auroc_high:Q", "n:Q", "positives:Q"],
    )
    shape = alt.Shape("use:N", title="Wording", scale=alt.Scale(domain=uses, range=["circle", "square"]), sort=uses)
    return alt.layer(
        upright(0.5),
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("auroc_low:Q", title="AUROC", scale=scale, axis=alt.Axis(tickCount=6)), x2="auroc_high:Q"
        ),
        base.mark_point(filled=True, size=55, opacity=1).encode(x="auroc:Q", shape=shape),
    ).properties(height=alt.Step(24))
