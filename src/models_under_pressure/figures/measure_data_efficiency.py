"""AUROC by the number of training prompts."""

from collections.abc import Sequence

import altair as alt

from models_under_pressure.figures.by_size import auroc_scale, by_size, panel_title
from models_under_pressure.figures.panels import Row, split
from models_under_pressure.figures.theme import themed


def chart(rows: Sequence[Row]) -> alt.VConcatChart:
    """The mean over datasets in a large panel, each dataset in a small one.

    `rows` are those of `experiments.measure_data_efficiency` and `experiments.measure_finetuning`.
    """
    scales = {
        name: auroc_scale([row for row in rows if (row["dataset"] == "mean") == (name == "mean")])
        for name in ("mean", "each")
    }
    methods = {row["method"]: row["method"].replace("_", " ") for row in rows}
    parts = {
        name: by_size(
            [row | {"series": row["method"]} for row in part],
            methods,
            scale=scales["mean" if name == "mean" else "each"],
            x_title="Training prompts",
        ).properties(title=panel_title(name, part))
        for (name,), part in split(rows, "dataset").items()
    }
    large = parts.pop("mean").properties(width=520, height=280)
    small = [panel.properties(width=250, height=170) for panel in parts.values()]
    return themed(
        alt.vconcat(large, alt.concat(*small, columns=2, spacing=20), spacing=20),
        title="How many training prompts a monitor needs",
        subtitle=[
            f"Mean over {_repeats(rows)} repeats with other prompts and another seed; half of the prompts are "
            "high-stakes.",
            "Bars: 95 % interval over records and repeats.",
        ],
    )


def _repeats(rows: Sequence[Row]) -> str:
    """Fewest and most repeats of a method."""
    found = sorted({row["repeats"] for row in rows})
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
