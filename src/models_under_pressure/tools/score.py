"""Score conversations with a probe, one JSON row each."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from models_under_pressure.activations.config import LoadedModel
    from models_under_pressure.core.records import Record
    from models_under_pressure.monitor.score import Scored
    from models_under_pressure.probes.probe import Probe


ProbeName = Annotated[
    str, typer.Option("--probe", help="Name of a trained probe, a folder, or hf://owner/name[@revision].")
]
Device = Annotated[str, typer.Option(help="auto, or a torch device such as cpu or cuda:0.")]


def find_probe(name: str) -> Path:
    """Folder of a probe: itself, the first seed in it, the same under data/probes, or a copy of one on the hub.

    Raises:
        UserError: there is none.
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.paths import PROBES
    from models_under_pressure.probes.hub import SCHEME, pull_probe
    from models_under_pressure.probes.probe import DESCRIPTION

    if name.startswith(SCHEME):
        return pull_probe(name)
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


def load_with_model(name: str, device: str) -> "tuple[Probe, LoadedModel]":
    """A probe and its model."""
    from models_under_pressure.core.section import runs_code_of
    from models_under_pressure.monitor.score import load_probe_model
    from models_under_pressure.probes.probe import load_probe

    probe = load_probe(find_probe(name))
    trusted = runs_code_of(str(probe.provenance.get("model")))
    return probe, load_probe_model(probe, device=device, trust_remote_code=trusted)


def read_conversations(file: str) -> "list[Record]":
    """Conversations of a file of JSON Lines, CSV, TSV or Parquet, whatever their labels; `-` is standard input."""
    from models_under_pressure.core.records import collect_records, read_records
    from models_under_pressure.core.tables import read_stream

    if file != "-":
        return read_records(Path(file), None)
    where = "standard input"
    return collect_records(read_stream(sys.stdin.buffer, where=where), where=where, classes=None)


def command(
    probe: ProbeName,
    file: Annotated[
        str, typer.Argument(help="JSON Lines, CSV, TSV or Parquet with `inputs`; - is standard input.")
    ] = "-",
    tokens: Annotated[bool, typer.Option("--tokens", help="Add the score of each token.")] = False,
    allow_refused: Annotated[int, typer.Option(help="Conversations that the chat template may refuse.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write here instead of to standard output.")] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="The file is a log of `mup watch`: verify its scores.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Score conversations with a probe, one JSON row each.

    Example: mup score --probe attention conversations.jsonl > scores.jsonl
    """
    from models_under_pressure.activations.tokens import check_refused
    from models_under_pressure.core.files import json_line, write_jsonl
    from models_under_pressure.monitor.score import score_records, to_row

    records = read_conversations(file)
    loaded, model = load_with_model(probe, device)
    refused: dict[str, str] = {}
    found = score_records(records, loaded, model, tokens=tokens, refused=refused)
    if replay:
        print(_verified(records, found, loaded, file))
        return
    rows = map(to_row, found)
    if out is not None:
        write_jsonl(out, rows)
    else:
        for row in rows:
            print(json_line(row), flush=True)
    check_refused(refused, allowed=allow_refused)


_BOUNDS = {"float32": 1e-4}
_BOUND = 0.05
"""Greatest difference of a logit between a conversation as it was written and as it is read, in bfloat16."""


def _verified(records: "list[Record]", found: "Iterable[Scored]", probe: "Probe", file: str) -> str:
    """How a log's scores compare with those of the same conversations now.

    Raises:
        UserError: a line was not scored with this probe, or has another score.
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.files import is_object
    from models_under_pressure.probes.probe import weights_hash

    bound = _BOUNDS.get(str(probe.provenance.get("compute_dtype")), _BOUND)
    weights, largest = weights_hash(probe), 0.0
    for record, scored in zip(records, found, strict=True):
        logged = record.fields.get("scores")
        entries = filter(is_object, logged.values()) if is_object(logged) else ()
        logits = [entry.get("logit") for entry in entries if entry.get("weights") == weights]
        if not logits or not isinstance(logits[0], int | float):
            remedy = "name the probe that watched (its weights' hash is in the log)."
            raise UserError(f"record {record.id!r} has no score of this probe.", where=file, remedy=remedy)
        difference = abs(scored.logit - logits[0])
        if difference > bound:
            problem = f"record {record.id!r} was logged with the logit {logits[0]:.6f} and has {scored.logit:.6f}."
            raise UserError(problem, where=file, remedy="the log, the probe or the model is another than it was.")
        largest = max(largest, difference)
    return f"{len(records)} conversations verified, largest difference of a logit {largest:.1e}"
