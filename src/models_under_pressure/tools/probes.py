"""Look at saved probes and share them."""

from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.core.display import text_table
from models_under_pressure.tools.score import find_probe

app = typer.Typer(help="Look at saved probes and share them.", no_args_is_help=True)


@app.command("list")
def list_probes() -> None:
    """List the trained probes.

    Example: mup probes list
    """
    from models_under_pressure.core.paths import PROBES
    from models_under_pressure.probes.probe import DESCRIPTION, load_probe

    rows: list[list[object]] = []
    for description in sorted(PROBES.rglob(DESCRIPTION)):
        probe = load_probe(description.parent)
        auroc = probe.metrics.get("validation_auroc")
        layer, model = (probe.provenance.get(name, "-") for name in ("layer", "model"))
        name = description.parent.relative_to(PROBES)
        rows.append([name, probe.family, layer, "-" if auroc is None else f"{auroc:.4f}", model])
    print(text_table(("probe", "family", ">layer", ">AUROC", "model"), rows), end="")


@app.command()
def export(
    probe: Annotated[str, typer.Argument(help="Name of a trained probe, or a folder that holds one.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write: it must not exist, or be empty.")],
) -> None:
    """Write a probe as a folder in the layout of the Hugging Face Hub, ready for `hf upload`.

    Example: mup probes export attention ./attention-probe
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.probes.probe import load_probe, save_probe

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("there is something here already.", where=str(folder), remedy="name another folder.")
    save_probe(load_probe(find_probe(probe)), folder)
    print(folder)
