"""Which generated prompts become training data: always whole pairs, so that the classes stay equal."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Label, Record

SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows kept, in the order given, and the ids of the pairs dropped with the reason."""

    records: Sequence[Record]
    dropped: Sequence[tuple[str, str]]
    """(pair id, reason)."""


def pairs_of(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Pair id -> its rows, in the order given."""
    pairs: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        pairs[str(record.fields["pair_id"])].append(record)
    return dict(pairs)


def drop_repeats(records: Sequence[Record], *, known: Collection[Record] = ()) -> Selection:
    """Drop the pairs of which a text occurs before, in another pair or among `known`, or is its own partner.

    Texts are compared without case and white space. Of equal texts the first stays, so that a larger run, which
    adds its pairs at the end, drops none that a smaller one kept.
    """
    seen = {_normal(record): str(record.fields["pair_id"]) for record in known}
    reasons: dict[str, str] = {}
    for pair_id, members in pairs_of(records).items():
        texts = [_normal(record) for record in members]
        if len(set(texts)) < len(texts):
            reasons[pair_id] = "its two prompts are equal"
        elif earlier := next((seen[text] for text in texts if text in seen), None):
            reasons[pair_id] = f"pair {earlier} has the same text"
        else:
            seen |= dict.fromkeys(texts, pair_id)
    return _without(records, reasons)


def keep_agreeing_pairs(records: Sequence[Record]) -> Selection:
    """Keep the pairs in which both labels say what the generator meant; a row goes with its partner."""
    reasons = {pair_id: reason for pair_id, members in pairs_of(records).items() if (reason := _reason(members))}
    return _without(records, reasons)


def pairs_wanted(rows: int, test_fraction: float) -> dict[str, int]:
    """Split -> pairs, of so many rows."""
    test = round(rows / 2 * test_fraction)
    return {"train": rows // 2 - test, "test": test}


def draw_rows(records: Sequence[Record], *, rows: int, test_fraction: float, seed: int) -> Selection:
    """Draw whole pairs up to `rows` rows: `test_fraction` of them from the test split, the others from train.

    Raises:
        UserError: a split has fewer (never a silent shrink).
    """
    drawn: set[str] = set()
    for split, wanted in pairs_wanted(rows, test_fraction).items():
        pairs = pairs_of([record for record in records if record.fields["split"] == split])
        if len(pairs) < wanted:
            raise UserError(
                f"{2 * wanted:,} {split} rows asked for, but only {2 * len(pairs):,} are left after selection.",
                where="params.yaml: synthesise.rows",
                remedy="raise synthesise.situations (the prompts that exist are not paid again), or lower `rows`.",
            )
        drawn |= set(sorted(pairs, key=lambda pair: stable_hash(seed, "draw", pair))[:wanted])
    return _without(records, dict.fromkeys(set(pairs_of(records)) - drawn, "not drawn"))


def _without(records: Sequence[Record], reasons: dict[str, str]) -> Selection:
    kept = [record for record in records if record.fields["pair_id"] not in reasons]
    return Selection(kept, sorted(reasons.items()))


def _normal(record: Record) -> str:
    return " ".join(record.text.casefold().split())


def _reason(members: Sequence[Record]) -> str | None:
    if len(members) != 2:
        return "its partner has no answer"
    for record in members:
        meant = Label.HIGH if record.fields["high_stakes"] else Label.LOW
        if record.label != meant:
            return f"{record.id} was meant {meant.value} and labelled {record.label.value if record.label else 'not'}"
    return None
