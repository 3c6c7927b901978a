"""Which generated prompts become training data."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from models_under_pressure.records import Label, Record


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows kept, and the ids of the pairs dropped with the reason."""

    records: Sequence[Record]
    dropped: Sequence[tuple[str, str]]
    """(pair id, reason)."""


def keep_agreeing_pairs(records: Sequence[Record]) -> Selection:
    """Keep the pairs in which both labels say what the generator meant; a row goes with its partner."""
    pairs: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        pairs[str(record.fields["pair_id"])].append(record)
    kept: list[Record] = []
    dropped: list[tuple[str, str]] = []
    for pair_id, members in sorted(pairs.items()):
        reason = _reason(members)
        if reason:
            dropped.append((pair_id, reason))
        else:
            kept += members
    return Selection(sorted(kept, key=lambda record: record.id), dropped)


def _reason(members: Sequence[Record]) -> str | None:
    if len(members) != 2:
        return "its partner has no answer"
    for record in members:
        meant = Label.HIGH if record.fields["high_stakes"] else Label.LOW
        if record.label != meant:
            return f"{record.id} was meant {meant.value} and labelled {record.label.value if record.label else 'not'}"
    return None
