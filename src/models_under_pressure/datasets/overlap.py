"""Content that splits share: the gate that keeps test rows out of training and development.

Rows are compared on the source's own text (`core_text`), before any formatting: a heading that a recipe adds would
hide two equal notes from each other; and on their conversation, whole and turn by turn. Every check is linear in the
words of the splits, plus the pairs found.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from pydantic import Field

from models_under_pressure.core.display import notice, printable
from models_under_pressure.core.records import Record, is_given
from models_under_pressure.core.section import Section
from models_under_pressure.datasets.folding import fold
from models_under_pressure.datasets.matching import Text, contained, near_duplicates
from models_under_pressure.datasets.source import INSTRUCTIONS, core_text

IN_USE = "in_use"
"""Name of the comparison of all datasets that probes are trained, chosen and tested on."""
_REPLY_FACTOR = 4
"""Models repeat themselves ("I am sorry, I do not understand"): a reply counts from this many times the words."""
_COMMON_ROWS = 20
"""A turn that more rows of a side have is a phrase of the source (an instruction, a refusal) and no copy."""
_INTEGER = re.compile(r"(-?\d+)\.0+")


class OverlapConfig(Section):
    """What counts as overlap."""

    jaccard: float = Field(gt=0, le=1)
    """Least share of common word shingles that makes two texts near-duplicates."""
    shingle_words: int = Field(ge=1)
    """Words of a shingle."""
    containment_words: int = Field(ge=1)
    """Least words of a text that is looked for inside others; shorter ones occur anywhere."""


class CheckOverlap(OverlapConfig):
    """What counts as overlap, and what of it is accepted: section `check_overlap` of params.yaml."""

    allowed: dict[str, int]
    """Version, or `in_use` -> pairs of overlapping rows that are known and accepted."""


@dataclass(frozen=True, slots=True)
class Part:
    """Records that are held against those of other sides."""

    name: str
    """Name of the split or dataset, as in the report."""
    side: str
    """Parts of one side may share rows: train, dev, test."""
    records: Sequence[Record]
    dataset: str = ""
    """Ids mean the same row within one dataset only."""


@dataclass(frozen=True, slots=True, order=True)
class Overlap:
    """Two rows of different sides that share something."""

    kind: str
    """`id`, `group`, `text` (the same words), `contains`, `near`, or `turn` (one of a turn, not of the whole)."""
    left_split: str
    left_id: str
    right_split: str
    right_id: str


@dataclass(frozen=True, slots=True)
class _Row:
    part: str
    side: str
    dataset: str
    id: str
    groups: frozenset[tuple[str, str]]
    """Names of the groups that its columns declare, each with the room in which that name means the same."""
    texts: tuple[str, ...]
    """Folded: the source's own text, and the conversation where that is another."""
    turns: tuple[str, ...]
    """Folded: the turns of a conversation that has several, without those too short to be told from a phrase."""
    opening: str
    """The first of them that no model wrote, or nothing."""


def find_overlaps(splits: Mapping[str, Sequence[Record]], config: OverlapConfig) -> list[Overlap]:
    """Every pair of rows in different splits of one dataset that overlap, sorted."""
    return overlaps_between([Part(name, name, records) for name, records in splits.items()], config)


def overlaps_between(parts: Sequence[Part], config: OverlapConfig) -> list[Overlap]:
    """Every pair of rows on different sides that overlap, sorted.

    A pair whose texts are equal is not reported as contained or near too, and one that is contained not as near; one
    that is found otherwise, also by its id or group, not as sharing a turn. Turns that very many rows of a side have
    are no overlap, and are said on standard error.
    """
    rows = [_row(part, record, config) for part in parts for record in part.records]
    named = {
        "id": set(_sharing(rows, [[(row.dataset, row.id)] for row in rows])),
        "group": set(_sharing(rows, [row.groups for row in rows])),
    }
    found = {_overlap(kind, rows, pair) for kind, pairs in named.items() for pair in pairs}
    seen: set[tuple[int, int]] = set()
    for kind, pairs in _by_text(rows, config).items():
        new = pairs - seen - (named["id"] | named["group"] if kind == "turn" else set())
        found |= {_overlap(kind, rows, pair) for pair in new}
        seen |= new
    return sorted(found)


def _row(part: Part, record: Record, config: OverlapConfig) -> _Row:
    own = core_text(record)
    said = [message for message in record.messages if message.role not in INSTRUCTIONS] or record.messages
    spoken = [message.spoken for message in said]
    folded = [fold(text) for text in spoken]
    whole = " ".join(text for text in folded if text)
    texts = {whole: None} if own == "\n".join(spoken) else {fold(own): None, whole: None}
    turns: dict[str, bool] = {}
    for message, told, text in zip(said, spoken, folded, strict=True):
        turn = text if told == message.content else fold(message.content)
        replied = message.role == "assistant"
        least = config.containment_words * (_REPLY_FACTOR if replied else 1)
        if turn not in texts and turn.count(" ") >= least - 1:
            turns.setdefault(turn, replied)
    opening = next((turn for turn, replied in turns.items() if not replied), "")
    texts.pop("", None)
    return _Row(
        part.name, part.side, part.dataset, record.id, _groups(part, record), tuple(texts), tuple(turns), opening
    )


def _groups(part: Part, record: Record) -> frozenset[tuple[str, str]]:
    """A `group` is named by content and means the same everywhere; within a dataset it may also name a pair."""
    given = {
        column: _INTEGER.sub(r"\1", unicodedata.normalize("NFKC", str(value)).strip().casefold())
        for column in ("group", "pair_id", "situation_id")
        if is_given(value := record.fields.get(column))
    }
    rooms = {"group": ("", f"{part.dataset}.pair"), "pair_id": (f"{part.dataset}.pair",)}
    return frozenset(
        (room, name) for column, name in given.items() for room in rooms.get(column, (f"{part.dataset}.situation",))
    )


def _sharing(rows: Sequence[_Row], keys: Sequence[Iterable[Hashable]]) -> Iterator[tuple[int, int]]:
    """Pairs on different sides that share one of their keys; what one side shares costs its size only."""
    together: dict[Hashable, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, row in enumerate(rows):
        for key in keys[index]:
            together[key][row.side].append(index)
    for sides in together.values():
        for one, other in combinations(sides.values(), 2):
            yield from map(_ordered, product(one, other))


def _ordered(pair: tuple[int, int]) -> tuple[int, int]:
    return min(pair), max(pair)


def _by_text(rows: Sequence[_Row], config: OverlapConfig) -> dict[str, set[tuple[int, int]]]:
    """Kind of overlap -> pairs of rows, the closest kind first."""
    wholes = [Text(index, row.side, text) for index, row in enumerate(rows) for text in row.texts]
    counts = Counter((row.side, turn) for row in rows for turn in row.turns)
    phrases = {turn for (_, turn), count in counts.items() if count > _COMMON_ROWS}
    turns = [
        Text(index, row.side, turn, is_turn=True)
        for index, row in enumerate(rows)
        for turn in row.turns
        if turn not in phrases
    ]
    pairs: dict[str, set[tuple[int, int]]] = {"text": set(_sharing(rows, [row.texts for row in rows]))}
    pairs |= {kind: set() for kind in ("contains", "near", "turn")}
    standing: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for inner, outer in contained(wholes + turns, wholes, least_words=config.containment_words):
        (standing[inner.words] if inner.is_turn else pairs["contains"]).add((inner.row, outer.row))
    for turn, found in standing.items():
        holders = Counter(rows[index].side for index in {outer for _, outer in found})
        if max(holders.values()) > _COMMON_ROWS:
            phrases.add(turn)
        else:
            pairs["turn"] |= found
    openings = [turn for turn in turns if turn.words == rows[turn.row].opening and turn.words not in phrases]
    alike = near_duplicates(wholes + openings, jaccard=config.jaccard, shingle_words=config.shingle_words)
    for one, other in alike:
        pairs["turn" if one.is_turn or other.is_turn else "near"].add((one.row, other.row))
    _tell(phrases)
    return {kind: set(map(_ordered, found)) for kind, found in pairs.items()}


def _tell(phrases: set[str]) -> None:
    if phrases:
        notice(
            f"overlap: {len(phrases)} turns that more than {_COMMON_ROWS} rows of a side have count as phrases, not as "
            f"copies, first {printable(min(phrases)[:60])!r}"
        )


def _overlap(kind: str, rows: Sequence[_Row], pair: tuple[int, int]) -> Overlap:
    first, second = sorted((rows[index] for index in pair), key=lambda row: (row.part, row.id))
    return Overlap(kind, first.part, first.id, second.part, second.id)
