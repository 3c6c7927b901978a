"""Show the layers compared by `choose_layer`, and the one to use."""

from collections.abc import Sequence

from models_under_pressure.activations.config import ProbeParams
from models_under_pressure.core.files import read_json
from models_under_pressure.core.paths import EXPERIMENTS as RESULTS
from models_under_pressure.core.section import read
from models_under_pressure.experiments.shared.rows import Row


def command() -> None:
    """Show the layers compared by `choose_layer`, and the one to use.

    Example: mup layers
    """
    found = read_json(RESULTS / "choose_layer.json")
    print(to_table(found["layers"], found["layer"]), end="")
    used = read("probe", ProbeParams).layer
    print(f"\nLayer {found['layer']} by the rule `{found['rule']}` ({found['probe']} probe); probe.layer is {used}.")
    if used != found["layer"]:
        print(f"To use it: dvc exp run -S probe.layer={found['layer']}")


def to_table(rows: Sequence[Row], chosen: int) -> str:
    """The layers as text, the chosen one marked."""
    lines = ["layer  AUROC  [95 % interval]    accuracy"]
    for row in rows:
        interval = f"[{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]"
        mark = "  <- chosen" if row["layer"] == chosen else ""
        lines.append(f"{row['layer']:>5}  {row['auroc']:.3f}  {interval:<17}  {row['accuracy']:.3f}{mark}")
    return "\n".join(lines) + f"\nn = {rows[0]['n']:,}, {rows[0]['folds']} folds of whole groups\n"
