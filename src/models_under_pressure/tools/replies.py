"""Look after the recorded replies of the chat model."""

from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import PARAMS, read
from models_under_pressure.llm.answering import REPLIES, SHIPPED
from models_under_pressure.llm.config import LLMConfig, Price
from models_under_pressure.llm.ledger import Ledger, ledger_path
from models_under_pressure.llm.maintenance import export_ledger, prune_ledger, replies_stats, verify_replies

app = typer.Typer(help="Look after the recorded replies of the chat model.", no_args_is_help=True)

_Folders = Annotated[list[Path] | None, typer.Argument(help="Record files, or folders of them.")]


@app.command()
def stats(where: _Folders = None) -> None:
    """Count replies, tokens and cost of each record file and of the ledger.

    Example: mup replies stats
    """
    for one in replies_stats(_record_files(where), Ledger(ledger_path()), prices=_prices()):
        models = ", ".join(f"{name} {count:,}" for name, count in sorted(one.models.items())) or "none"
        print(f"{one.place}: {one.replies:,} replies ({models})")
        if one.without_answer:
            print(
                "  without an answer: " + ", ".join(f"{kind} {n:,}" for kind, n in sorted(one.without_answer.items()))
            )
        if one.replies:
            unknown = f", {one.unpriced:,} of unknown cost" if one.unpriced else ""
            print(f"  {one.input_tokens:,} tokens in, {one.output_tokens:,} out, ${one.cost_usd:,.2f}{unknown}")


@app.command()
def verify(where: _Folders = None) -> None:
    """Check that record files and ledger are whole and agree; status 1 if not.

    Example: mup replies verify
    """
    files = _record_files(where)
    problems = verify_replies(files, Ledger(ledger_path()))
    for problem in problems:
        print(problem)
    print(f"{len(files)} record files and the ledger: {len(problems) or 'no'} problems")
    if problems:
        raise typer.Exit(1)


@app.command()
def prune(
    where: _Folders = None,
    older_than_days: Annotated[float, typer.Option(help="Younger replies stay.")] = 90,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it nothing is changed.")] = False,
) -> None:
    """Delete from the ledger old replies that no record file here uses.

    They were paid for: without --yes it only tells which.

    Example: mup replies prune --older-than-days 180 --yes
    """
    ledger = Ledger(ledger_path())
    pruned = prune_ledger(
        ledger, recorded_in=_record_files(where), older_than_days=older_than_days, prices=_prices(), delete=yes
    )
    verb = "deleted" if yes else "would delete (confirm with --yes)"
    print(f"{ledger.path}: {verb} {len(pruned.keys):,} replies, worth ${pruned.cost_usd:,.2f} as far as it is known")


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="The record file to write.")],
    model: Annotated[str | None, typer.Option(help="Only replies to requests to this model.")] = None,
) -> None:
    """Write the ledger's replies to a record file, to take them to another machine.

    Example: mup replies export data/demo/replies/mine.jsonl --model gpt-4o
    """
    print(f"{path}: {export_ledger(Ledger(ledger_path()), path, model=model):,} replies")


def _record_files(where: list[Path] | None) -> list[Path]:
    """The files named, and those in the folders named; by default those of this project."""
    files: list[Path] = []
    for path in where or [REPLIES, SHIPPED]:
        if where and not path.exists():
            raise UserError("no such file or folder.", where=str(path), remedy="name a record file or its folder.")
        files += sorted(path.glob("*.jsonl")) if path.is_dir() else [path] if path.exists() else []
    return files


def _prices() -> dict[str, Price]:
    """The price table of params.yaml; empty outside a project."""
    return read("llm", LLMConfig).prices if PARAMS.exists() else {}
