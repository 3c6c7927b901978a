"""Look at saved probes and share them."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.core.display import text_table
from models_under_pressure.core.layers import layer_text
from models_under_pressure.tools.score import find_probe

app = typer.Typer(help="Look at saved probes and share them.", no_args_is_help=True)

_Probe = Annotated[str, typer.Argument(help="Name of a trained probe, a folder, or hf://owner/name[@revision].")]
_Folder = Annotated[Path, typer.Argument(help="Folder to write: it must not exist, or be empty.")]


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
        layers, model = layer_text(probe.provenance), probe.provenance.get("model", "-")
        name = description.parent.relative_to(PROBES)
        rows.append([name, probe.family, layers, "-" if auroc is None else f"{auroc:.4f}", model])
    print(text_table(("probe", "family", ">layer", ">AUROC", "model"), rows), end="")


@app.command()
def push(
    probe: _Probe,
    address: Annotated[str, typer.Argument(help="Repository on the Hugging Face Hub: owner/name.")],
    private: Annotated[bool, typer.Option(help="Make a new repository that others cannot see.")] = False,
) -> None:
    """Upload a probe to the Hugging Face Hub: weights, description and card. HF_TOKEN must be able to write.

    Example: mup probes push attention owner/high-stakes-attention
    """
    from models_under_pressure.probes.hub import push_probe

    with tempfile.TemporaryDirectory(prefix="mup-probe-") as folder:
        _write(probe, Path(folder))
        print(push_probe(Path(folder), address, private=private))


@app.command()
def pull(
    address: Annotated[str, typer.Argument(help="hf://owner/name, or hf://owner/name@revision.")], folder: _Folder
) -> None:
    """Download a probe from the Hugging Face Hub into a folder; `--probe hf://owner/name` needs no such step.

    Example: mup probes pull hf://owner/high-stakes-attention ./attention-probe
    """
    export(address, folder)


@app.command()
def export(probe: _Probe, folder: _Folder) -> None:
    """Write a probe as a folder in the layout of the Hugging Face Hub.

    Example: mup probes export attention ./attention-probe
    """
    from models_under_pressure.core.errors import UserError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("there is something here already.", where=str(folder), remedy="name another folder.")
    _write(probe, folder)
    print(folder)


def _write(probe: str, folder: Path) -> None:
    """A probe's files, with the card that `report` completed where it is of this very probe."""
    from models_under_pressure.core.files import write_text
    from models_under_pressure.core.paths import CARDS
    from models_under_pressure.probes.probe import CARD, load_probe, save_probe

    save_probe(load_probe(find_probe(probe)), folder)
    card = CARDS / f"{probe}.md"
    if card.is_file() and (told := card.read_text("utf-8")).startswith((folder / CARD).read_text("utf-8").rstrip()):
        write_text(folder / CARD, told)
