"""Show the layers compared by `choose_layer`, and the one to use."""

from collections.abc import Sequence

from models_under_pressure.activations.config import ProbeParams
from models_under_pressure.core.display import text_table
from models_under_pressure.core.files import read_json
from models_under_pressure.core.layers import layers_text
from models_under_pressure.core.paths import EXPERIMENT_RESULTS
from models_under_pressure.core.section import read
from models_under_pressure.evaluation.rows import LayerRow


def command() -> None:
    """Show the layers compared by `choose_layer`, and the one to use.

    Example: mup layers
    """
    found = read_json(EXPERIMENT_RESULTS / "choose_layer.json")
    print(to_table(found["layers"], found["layer"]), end="")
    used = read("probe", ProbeParams).reads
    how = f"by the rule `{found['rule']}` ({found['probe']} probe)"
    print(f"\nLayer {found['layer']} {how}; the pipeline's probes read {layers_text({'layers': used})}.")
    if used != (found["layer"],):
        print(f"To use it: dvc exp run -S probe.layer={found['layer']}")


def to_table(rows: Sequence[LayerRow], chosen: int) -> str:
    """The layers as text, the chosen one marked."""
    cells = (
        (
            row["layer"],
            f"{row['auroc']:.3f}",
            f"[{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]",
            f"{row['accuracy']:.3f}",
            "<- chosen" if row["layer"] == chosen else "",
        )
        for row in rows
    )
    table = text_table((">layer", ">AUROC", "[95 % interval]", ">accuracy", ""), cells)
    return f"{table}\nn = {rows[0]['n']:,}, {rows[0]['folds']} folds of whole groups\n"
