"""Look at saved probes and share them."""

from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.tools._inputs import find_probe

app = typer.Typer(help="Look at saved probes and share them.", no_args_is_help=True)


@app.command("list")
def list_probes() -> None:
    """List the trained probes.

    Example: mup probes list
    """
    from models_under_pressure.core.paths import PROBES
    from models_under_pressure.probes.persistence import DESCRIPTION, load_probe

    print(f"{'probe':32} {'family':20} {'layer':>5} {'AUROC':>7}  model")
    for description in sorted(PROBES.rglob(DESCRIPTION)):
        probe = load_probe(description.parent)
        auroc = probe.metrics.get("validation_auroc")
        shown = "-" if auroc is None else f"{auroc:.4f}"
        name = str(description.parent.relative_to(PROBES))
        print(
            f"{name:32} {probe.family:20} {probe.provenance.get('layer', '-'):>5} {shown:>7}  "
            f"{probe.provenance.get('model', '-')}"
        )


@app.command()
def export(
    probe: Annotated[str, typer.Argument(help="Name of a trained probe, or a folder that holds one.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write: it must not exist, or be empty.")],
) -> None:
    """Write a probe as a folder in the layout of the Hugging Face Hub, ready for `hf upload`.

    Example: mup probes export attention ./attention-probe
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.probes.persistence import load_probe, save_probe

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("there is something here already.", where=str(folder), remedy="name another folder.")
    save_probe(load_probe(find_probe(probe)), folder)
    print(folder)
