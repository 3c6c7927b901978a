"""Content that two splits share."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from models_under_pressure.datasets.parsed import core_text, normalised
from models_under_pressure.records import Record


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two rows of different splits that share something."""

    kind: str
    """`id`, `text` (equal after normalisation of case and white space) or `group`."""
    left_split: str
    left_id: str
    right_split: str
    right_id: str


def find_overlaps(splits: Mapping[str, Sequence[Record]]) -> list[Overlap]:
    """Every pair of rows in different splits with the same id, text or group, in a fixed order.

    The text compared is the source's own (`core_text`), before any formatting. Time and memory are linear in the
    rows plus the pairs found.
    """
    found: list[Overlap] = []
    for kind, key in (("id", _id), ("text", _text), ("group", _group)):
        places: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for split, records in splits.items():
            for record in records:
                places[key(record)].append((split, record.id))
        found += [
            Overlap(kind, *left, *right)
            for together in places.values()
            for left, right in _pairs(together)
            if left[0] != right[0]
        ]
    return sorted(found, key=lambda o: (o.kind, o.left_split, o.left_id, o.right_split, o.right_id))


def _pairs(places: Sequence[tuple[str, str]]) -> Iterable[tuple[tuple[str, str], tuple[str, str]]]:
    return ((left, right) for index, left in enumerate(places) for right in places[index + 1 :])


def _id(record: Record) -> str:
    return record.id


def _text(record: Record) -> str:
    return normalised(core_text(record))


def _group(record: Record) -> str:
    return record.group
