"""Score conversations with a probe, one JSON row each."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

if TYPE_CHECKING:
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
        bool, typer.Option("--replay", help="The file is a log of `mup watch`: verify what the probe and judges said.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Score conversations with a probe, one JSON row each; those on standard input as they come.

    Example: tail -f talk.jsonl | mup score --probe attention
    """
    from models_under_pressure.activations.tokens import check_refused
    from models_under_pressure.core.files import json_line, write_jsonl
    from models_under_pressure.monitor.score import score_chunks, score_records, to_row

    if replay:
        _verify(file, probe, device)
        return
    refused: dict[str, str] = {}
    settings: dict[str, Any] = {"tokens": tokens, "refused": refused}
    if file == "-":
        chunks = _arriving()
        loaded, model = load_with_model(probe, device)
        found = score_chunks(chunks, loaded, model, **settings)
    else:
        records = read_conversations(file)
        loaded, model = load_with_model(probe, device)
        found = _shown(score_records(records, loaded, model, **settings), len(records))
    rows = map(to_row, found)
    if out is not None:
        write_jsonl(out, rows)
    else:
        for row in rows:
            print(json_line(row), flush=True)
    check_refused(refused, allowed=allow_refused)


def _shown(found: "Iterator[Scored]", total: int) -> "Iterator[Scored]":
    """The scores of a file, with their progress."""
    from models_under_pressure.core.display import progress

    with progress(total, what="score", unit="conversations") as bar:
        for scored in found:
            yield scored
            bar.advance()


def _arriving() -> "Iterator[Sequence[Record]]":
    """Conversations of standard input in chunks of those that have come, once the first one has.

    Raises:
        UserError: the first one is malformed; a later one, when those before it are scored.
    """
    from itertools import chain

    from models_under_pressure.core.arrivals import as_they_come
    from models_under_pressure.core.records import stream_records
    from models_under_pressure.core.tables import read_stream
    from models_under_pressure.monitor.score import CHUNK

    where = "standard input"
    chunks = as_they_come(stream_records(read_stream(_standard_input(), where=where), where=where), CHUNK)
    first = next(chunks, None)
    return chain([] if first is None else [first], chunks)


def _standard_input() -> BinaryIO:
    """Standard input through a reader of its own: when Python ends, it waits for whoever reads in `sys.stdin`."""
    try:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except OSError:  # it is no file
        return sys.stdin.buffer


def _verify(file: str, probe: str, device: str) -> None:
    """Print how a log's scores and verdicts compare with those of the same conversations now."""
    from models_under_pressure.core.concept import chosen_concept
    from models_under_pressure.core.section import PARAMS, read
    from models_under_pressure.llm.config import LLMConfig
    from models_under_pressure.monitor.replay import verify

    records = read_conversations(file)
    loaded, model = load_with_model(probe, device)
    config = read("llm", LLMConfig) if PARAMS.exists() else LLMConfig(model="judge")
    print(verify(records, loaded, model, where=file, llm=config, concept=chosen_concept()))
