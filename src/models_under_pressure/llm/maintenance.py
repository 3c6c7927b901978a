"""Looking after recorded replies: counting, checking, pruning, exporting."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import json_line, write_jsonl
from models_under_pressure.llm.config import Price, cost_of
from models_under_pressure.llm.ledger import Ledger
from models_under_pressure.llm.reply import Reply, completion_in, from_completion, to_row
from models_under_pressure.llm.store import read_record_file, request_key

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
    problems = [problem for path in files for problem in _file_problems(path, ledger)]
    problems += [f"{ledger.path}: {problem}" for problem in ledger.problems()]
    if not ledger.problems():
        for entry in ledger.entries():
            if request_key(entry.request, sample=entry.sample) != entry.key:
                problems.append(f"{ledger.path}: {entry.key} is not the key of its request")
            if completion_in(entry.response) is None:
                problems.append(f"{ledger.path}: {entry.key} holds no reply")
    return problems


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
        if model is None or entry.request["model"] == model.removeprefix("openai/")
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


def _file_problems(path: Path, ledger: Ledger) -> list[str]:
    try:
        replies = read_record_file(path)
    except UserError as error:
        return [str(error)]
    problems = [] if list(replies) == sorted(replies) else [f"{path}: lines are not sorted by key"]
    with path.open(encoding="utf-8") as stream:
        for number, ((key, reply), line) in enumerate(zip(replies.items(), stream, strict=True), start=1):
            if line != json_line(to_row(key, reply)) + "\n":
                problems.append(f"{path}:{number}: line is not as it would be written")
            paid = ledger.get(key)
            if paid is not None and paid != reply:
                problems.append(f"{path}:{number}: the ledger holds another reply to {key}")
    return problems
