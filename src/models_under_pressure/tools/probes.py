"""`mup probes`, `mup score` and `mup explain`: use saved probes."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models_under_pressure.activations.model import LoadedModel
    from models_under_pressure.core.records import Record
    from models_under_pressure.probes.probe import Probe

app = typer.Typer(help="Look at saved probes and share them.", no_args_is_help=True)

_Probe = Annotated[str, typer.Option("--probe", help="Name of a trained probe, or a folder that holds one.")]
_File = Annotated[str, typer.Argument(help="JSON Lines with an `inputs` column; - is standard input.")]
_Device = Annotated[str, typer.Option(help="auto, or a torch device such as cpu or cuda:0.")]


@app.command("list")
def list_probes() -> None:
    """List the trained probes.

    Example: mup probes list
    """
    from models_under_pressure.probes.persistence import DESCRIPTION, load_probe
    from models_under_pressure.stages.paths import PROBES

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


def score(
    probe: _Probe,
    file: _File = "-",
    tokens: Annotated[bool, typer.Option("--tokens", help="Add the score of each token.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write here instead of to standard output.")] = None,
    device: _Device = "auto",
) -> None:
    """Score conversations with a probe, one JSON row each.

    Example: mup score --probe attention conversations.jsonl > scores.jsonl
    """
    from models_under_pressure.core.files import json_line, write_jsonl
    from models_under_pressure.monitor.rows import to_row
    from models_under_pressure.monitor.score import score_records

    records = _records(file)
    loaded, model = _loaded(probe, device)
    rows = (to_row(scored) for scored in score_records(records, loaded, model, tokens=tokens))
    if out is not None:
        write_jsonl(out, rows)
        return
    for row in rows:
        print(json_line(row), flush=True)


def explain(
    probe: _Probe,
    id_: Annotated[str, typer.Option("--id", help="Id of the conversation; a row without `ids` has its number.")],
    file: Annotated[
        str | None, typer.Argument(help="JSON Lines, - is standard input; without it, the datasets in use.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page here instead of text to standard output.")] = None,
    device: _Device = "auto",
) -> None:
    """Show which tokens made a conversation's score.

    Example: mup explain --probe attention --id 1518 --html why.html
    """
    from models_under_pressure.core.files import write_text
    from models_under_pressure.monitor.explain import to_html, to_text
    from models_under_pressure.monitor.score import score_records

    record = _conversation(id_, file)
    loaded, model = _loaded(probe, device)
    scored = next(iter(score_records([record], loaded, model, tokens=True)))
    if html is None:
        print(to_text(scored, loaded, colour=sys.stdout.isatty()), end="")
    else:
        write_text(html, to_html(scored, loaded))
        print(html)


def find_probe(name: str) -> Path:
    """Folder of a probe: itself, the first seed in it, or the same under data/probes.

    Raises:
        UserError: there is none.
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.probes.persistence import DESCRIPTION
    from models_under_pressure.stages.paths import PROBES

    for folder in (Path(name), PROBES / name):
        found = [folder, *sorted(folder.glob("seed_*"), key=lambda path: (len(path.name), path.name))]
        for candidate in found:
            if (candidate / DESCRIPTION).is_file():
                return candidate
    known = sorted({path.relative_to(PROBES).parts[0] for path in PROBES.rglob(DESCRIPTION)})
    raise UserError(
        f"no probe {name!r}.",
        remedy=f"use one of {', '.join(known)}, or name a folder." if known else "run `dvc repro train` or `dvc pull`.",
    )


def _loaded(name: str, device: str) -> "tuple[Probe, LoadedModel]":
    """A probe and its model."""
    from models_under_pressure.core.settings import load_settings
    from models_under_pressure.monitor import score as scoring
    from models_under_pressure.probes.persistence import load_probe

    probe = load_probe(find_probe(name))
    token = load_settings().hf_token
    return probe, scoring.load_probe_model(probe, token=token.get_secret_value() if token else None, device=device)


def _records(file: str) -> "list[Record]":
    from models_under_pressure.core.files import jsonl_rows
    from models_under_pressure.core.records import collect_records, read_records

    if file != "-":
        return read_records(Path(file))
    where = "standard input"
    return collect_records(jsonl_rows(io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8"), where=where), where=where)


def _conversation(id_: str, file: str | None) -> "Record":
    """The conversation of that id, from the file or from the datasets of the project.

    Raises:
        UserError: there is none, or several datasets have different ones.
    """
    from models_under_pressure.core.errors import UserError

    files = _datasets_in_use() if file is None else [file]
    found = {name: record for name in files for record in _records(name) if record.id == id_}
    if not found:
        raise UserError(
            f"no conversation has the id {id_!r}.",
            where=", ".join(files) or "data/",
            remedy="name a file and one of its `ids`.",
        )
    if len({record.input for record in found.values()}) > 1:
        raise UserError(
            f"several conversations have the id {id_!r}.", where=", ".join(found), remedy="name one of these files."
        )
    return next(iter(found.values()))


def _datasets_in_use() -> list[str]:
    """Files of the datasets in data/versions.yaml, those that are here."""
    from models_under_pressure.params.lineage import LINEAGE_PATH, load_lineage

    if not LINEAGE_PATH.is_file():
        return []
    return [dataset.path for dataset in load_lineage().datasets.values() if Path(dataset.path).is_file()]
