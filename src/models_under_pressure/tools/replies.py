"""Look after the recorded replies of the chat model."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import json_line, write_jsonl
from models_under_pressure.core.section import PARAMS, read
from models_under_pressure.llm.answering import REPLIES, SHIPPED
from models_under_pressure.llm.config import LLMConfig, Price, cost_of
from models_under_pressure.llm.ledger import Entry, Ledger, ledger_path
from models_under_pressure.llm.reply import Reply, completion_in, from_completion, to_row
from models_under_pressure.llm.store import read_record_file, record_lines, request_key

_DAY = 86_400.0


@dataclass
class Stats:
    """Counts over the replies of one place."""

    place: str
    replies: int = 0
    models: Counter[str] = field(default_factory=Counter[str])
    without_answer: Counter[str] = field(default_factory=Counter[str])
    """Refusals, truncated and filtered replies."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    """Replies whose cost is not known."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """The replies deleted from the ledger, or that would be."""

    keys: Sequence[str]
    cost_usd: float
    """What asking for them again would cost, as far as it is known."""


def replies_stats(files: Sequence[Path], ledger: Ledger, *, prices: Mapping[str, Price]) -> list[Stats]:
    """Count the replies of each record file and of the ledger; prices go by the model's reported name."""
    paid = (from_completion(entry.response) for entry in ledger.entries())
    found = [_stats(str(path), read_record_file(path).values(), prices) for path in files]
    return [*found, _stats(str(ledger.path), paid, prices)]


def verify_replies(files: Sequence[Path], ledger: Ledger) -> list[str]:
    """Every problem of the record files and of the ledger; none if all is well.

    A record file must be readable, sorted, and in the one spelling that its content has. In the ledger each key
    must be the hash of its request. Where both have a key they must hold the same reply.
    """
    found = ledger.problems(check=_entry_problem)
    sound = None if found else ledger
    return [
        *(one for path in files for one in _file_problems(path, sound)),
        *(f"{ledger.path}: {one}" for one in found),
    ]


def _entry_problem(entry: Entry) -> str | None:
    if request_key(entry.request, sample=entry.sample) != entry.key:
        return "is not the key of its request"
    return None if completion_in(entry.response) else "holds no reply"


def prune_ledger(
    ledger: Ledger, *, recorded_in: Sequence[Path], older_than_days: float, prices: Mapping[str, Price], delete: bool
) -> Pruned:
    """Delete from the ledger what is older than so many days and in none of the record files.

    Such replies belong to prompts, models or rows that are no longer used here. Without `delete` it only tells.
    """
    kept = {key for path in recorded_in for key in read_record_file(path)}
    before = time.time() - older_than_days * _DAY
    old = [entry for entry in ledger.entries() if entry.recorded_at < before and entry.key not in kept]
    cost = sum(_cost(from_completion(entry.response), prices) or 0.0 for entry in old)
    keys = [entry.key for entry in old]
    if delete and keys:
        ledger.delete(keys)
    return Pruned(keys, cost)


def export_ledger(ledger: Ledger, path: Path, *, model: str | None = None) -> int:
    """Write the ledger's replies as a record file, for another machine; returns their number.

    `model` keeps only requests to that model. Such a file can stand among the shipped ones.
    """
    rows = [
        to_row(entry.key, from_completion(entry.response))
        for entry in ledger.entries()
        if model is None or entry.request.get("model") == model.removeprefix("openai/")
    ]
    write_jsonl(path, rows)
    return len(rows)


def _stats(place: str, replies: Iterable[Reply], prices: Mapping[str, Price]) -> Stats:
    stats = Stats(place)
    for reply in replies:
        stats.replies += 1
        stats.models[reply.model] += 1
        if reply.ended:
            stats.without_answer[reply.ended[0]] += 1
        if reply.usage:
            stats.input_tokens += reply.usage.input_tokens
            stats.output_tokens += reply.usage.output_tokens
        cost = _cost(reply, prices)
        stats.cost_usd += cost or 0.0
        stats.unpriced += cost is None
    return stats


def _cost(reply: Reply, prices: Mapping[str, Price]) -> float | None:
    """Servers report a dated name (`gpt-4o-2024-08-06`) of the model asked for: the longest fitting prefix counts."""
    name = reply.model.removeprefix("openai/")
    fitting = [known for known in prices if name.startswith(known.removeprefix("openai/"))]
    return cost_of(reply.usage, prices[max(fitting, key=len)] if fitting else None)


def _file_problems(path: Path, ledger: Ledger | None) -> list[str]:
    problems: list[str] = []
    keys: list[str] = []
    try:
        for number, line, key, reply in record_lines(path):
            row = to_row(key, reply)
            unsealed = {name: value for name, value in row.items() if name != "sha256"}  # as older versions wrote
            if line not in (json_line(row), json_line(unsealed)):
                problems.append(f"{path}:{number}: line is not as it would be written")
            paid = ledger.get(key) if ledger else None
            if paid is not None and paid != reply:
                problems.append(f"{path}:{number}: the ledger holds another reply to {key}")
            keys.append(key)
    except UserError as error:
        return [*problems, str(error)]
    return problems if keys == sorted(keys) else [f"{path}: lines are not sorted by key", *problems]


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
