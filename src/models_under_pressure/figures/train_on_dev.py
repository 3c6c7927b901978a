"""AUROC by the number of dev samples that a probe is trained on."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from models_under_pressure.figures.by_size import auroc_scale, by_size, panel_title
from models_under_pressure.figures.panels import Row, split
from models_under_pressure.figures.theme import themed

_MODES = {
    "fine_tune": "synthetic probe, continued on the samples",
    "combine": "synthetic prompts and samples together",
    "only": "samples only",
}


def chart(rows: Sequence[Row]) -> alt.VConcatChart:
    """The mean over test sets in a large panel, each test set in a small one.

    `rows` are those of `experiments.train_on_dev`.
    """
    scale = auroc_scale(rows)
    modes = {mode: name for mode, name in _MODES.items() if any(row["mode"] == mode for row in rows)}
    parts = {name: part for (name,), part in split(rows, "dataset").items()}
    mean = parts.pop("mean")
    large = _panel("mean", mean, modes, auroc_scale(mean)).properties(width=520, height=280)
    small = [_panel(name, part, modes, scale).properties(width=250, height=170) for name, part in parts.items()]
    repeats = rows[0]["repeats"]
    return themed(
        alt.vconcat(large, alt.concat(*small, columns=2, spacing=20), spacing=20),
        title="Training on samples of the dev sets, tested on the test sets",
        subtitle=[
            f"Mean over {repeats} repeats with other samples and another initial probe; half of the samples are "
            "high-stakes.",
            "Bars: 95 % interval over records and repeats.",
        ],
    )


def _panel(name: str, rows: Sequence[Row], modes: dict[str, str], scale: alt.Scale) -> Any:
    initial = next(row for row in rows if row["mode"] == "initial")
    drawn = [{**row, "series": row["mode"]} for row in rows if row["mode"] in modes]
    note = f"dotted: synthetic prompts only, {initial['auroc']:.2f}"
    return by_size(drawn, modes, scale=scale, x_title="Dev samples", level=initial["auroc"]).properties(
        title=panel_title(name, rows, note)
    )
