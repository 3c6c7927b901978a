"""Score conversations with a probe, one JSON row each."""

from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.tools._inputs import Device, ProbeName, load_with_model, read_conversations


def command(
    probe: ProbeName,
    file: Annotated[str, typer.Argument(help="JSON Lines with an `inputs` column; - is standard input.")] = "-",
    tokens: Annotated[bool, typer.Option("--tokens", help="Add the score of each token.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write here instead of to standard output.")] = None,
    device: Device = "auto",
) -> None:
    """Score conversations with a probe, one JSON row each.

    Example: mup score --probe attention conversations.jsonl > scores.jsonl
    """
    from models_under_pressure.core.files import json_line, write_jsonl
    from models_under_pressure.monitor.score import score_records, to_row

    records = read_conversations(file)
    loaded, model = load_with_model(probe, device)
    rows = (to_row(scored) for scored in score_records(records, loaded, model, tokens=tokens))
    if out is not None:
        write_jsonl(out, rows)
        return
    for row in rows:
        print(json_line(row), flush=True)
