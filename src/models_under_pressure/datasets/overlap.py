"""Content that splits share: the gate that keeps test rows out of training and development.

Rows are compared on the source's own text (`core_text`), before any formatting: a heading that a recipe adds would
hide two equal notes from each other. Every check is linear in the words of the splits, plus the pairs found.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from pydantic import Field

from models_under_pressure.core.records import Record, is_given
from models_under_pressure.core.section import Section
from models_under_pressure.datasets.source import core_text

if TYPE_CHECKING:
    import numpy as np
    from datasketch import MinHash
    from jaxtyping import UInt64

    Shingles = UInt64[np.ndarray, "shingles"]


IN_USE = "in_use"
"""Name of the comparison of all datasets that probes are trained, chosen and tested on."""
_PERMUTATIONS = 128
"""Hash functions of a MinHash: a standard error of 1/sqrt(128) = 0.09 in the estimate, which is then verified."""
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0e7f])")
"""Scripts written without spaces (kana, Han, Hangul, Thai): each character counts as a word."""


_PUNCTUATION = re.compile(
    r"[!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u2027\u2030-\u205e\u3001-\u301f\u0964\u0965\uff01-\uff0f\uff1a-\uff20]+"
)


def words(text: str) -> list[str]:
    """Words without differences of case, white space and punctuation."""
    folded = _PUNCTUATION.sub(" ", text.casefold())
    return (folded if folded.isascii() else _UNSPACED.sub(r" \1 ", folded)).split()


def shingles(spaced: str, count: int, *, short: bool = True) -> Iterator[str]:
    """Runs of `count` words of a text whose words have one space between; with `short`, a shorter text as one run."""
    split = spaced.split(" ") if spaced else []
    if short and split and len(split) < count:
        yield spaced
    yield from (" ".join(split[start : start + count]) for start in range(len(split) - count + 1))


def contains(outer: str, inner: str) -> bool:
    """Whether the words of `inner` stand in `outer`, one after another, and are not all of it."""
    return outer != inner and f" {inner} " in f" {outer} "


def near_duplicates(
    texts: Sequence[str], sides: Sequence[str], *, jaccard: float, shingle_words: int
) -> Iterator[tuple[int, int]]:
    """Yield the pairs (indices) on different sides whose shingles have at least this Jaccard similarity.

    Each side has an index of its own, so that rows alike within a side cost nothing; the largest side is looked up
    row by row and never held.
    """
    from datasketch import MinHash, MinHashLSH

    blank = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=_low_bits)
    held: dict[int, Shingles] = {}
    indexes: list[Any] = []
    members: dict[str, list[int]] = defaultdict(list)
    for number, side in enumerate(sides):
        members[side].append(number)
    by_size = sorted(members.values(), key=lambda numbers: (len(numbers), numbers))
    for numbers in by_size:
        index: Any = MinHashLSH(threshold=jaccard, num_perm=_PERMUTATIONS)
        for number in numbers:
            own = _hashed(shingles(texts[number], shingle_words))
            if not len(own):
                continue
            sketch = _sketch(own, blank)
            candidates: list[int] = [other for earlier in indexes for other in earlier.query(sketch)]
            yield from ((other, number) for other in candidates if _jaccard(own, held[other]) >= jaccard)
            if numbers is not by_size[-1]:
                held[number] = own
                index.insert(number, sketch)
        indexes.append(index)


def _hashed(texts: Iterable[str]) -> "Shingles":
    """The distinct shingles as sorted 64-bit hashes: a tenth of the memory of their text."""
    import numpy as np

    values = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in set(texts)]
    return np.sort(np.array(values, dtype=np.uint64))


def _sketch(own: "Shingles", blank: "MinHash") -> "MinHash":
    sketch: Any = blank.copy()  # drawing the permutations anew for each text takes longer than the sketch
    sketch.update_batch(own.tolist())
    return sketch


def _low_bits(value: int) -> int:
    return value & 0xFFFFFFFF


def _jaccard(left: "Shingles", right: "Shingles") -> float:
    import numpy as np

    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)


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
    """`id`, `text` (the same words), `group`, `contains` or `near`."""
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
    group: tuple[str, ...]
    """Empty for a row that is its own group."""
    words: str
    """The text's words with one space between."""


_NAMES: dict[str, Callable[[_Row], tuple[str, ...]]] = {
    "id": lambda row: (row.dataset, row.id),
    "group": lambda row: row.group,
}
"""Kind of overlap -> what rows have in common that are named alike."""


def find_overlaps(splits: Mapping[str, Sequence[Record]], config: OverlapConfig) -> list[Overlap]:
    """Every pair of rows in different splits of one dataset that overlap, sorted."""
    return overlaps_between([Part(name, name, records) for name, records in splits.items()], config)


def overlaps_between(parts: Sequence[Part], config: OverlapConfig) -> list[Overlap]:
    """Every pair of rows on different sides that overlap, sorted.

    A pair whose texts are equal is not reported as contained or near too, and one that is contained not as near.
    """
    rows = [_row(part, record) for part in parts for record in part.records]
    found = {
        _overlap(kind, rows[left], rows[right]) for kind, key in _NAMES.items() for left, right in _sharing(rows, key)
    }
    by_text: set[tuple[int, int]] = set()
    for kind, pairs in (
        ("text", _sharing(rows, lambda row: row.words)),
        ("contains", _contained(rows, config.containment_words)),
        ("near", _near(rows, config)),
    ):
        new = {(min(pair), max(pair)) for pair in pairs} - by_text
        found |= {_overlap(kind, rows[left], rows[right]) for left, right in new}
        by_text |= new
    return sorted(found)


def _row(part: Part, record: Record) -> _Row:
    named, pair = record.fields.get("group"), record.fields.get("pair_id")
    group = (str(named),) if is_given(named) else (part.dataset, str(pair)) if is_given(pair) else ()
    return _Row(part.name, part.side, part.dataset, record.id, group, " ".join(words(core_text(record))))


def _sharing(rows: Sequence[_Row], key: Callable[[_Row], Hashable]) -> Iterator[tuple[int, int]]:
    """Pairs that share a key, which is not empty, on different sides; a group on one side costs its size only."""
    together: dict[Hashable, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, row in enumerate(rows):
        if name := key(row):
            together[name][row.side].append(index)
    for sides in together.values():
        for one, other in combinations(sides.values(), 2):
            yield from product(one, other)


def _contained(rows: Sequence[_Row], least_words: int) -> Iterator[tuple[int, int]]:
    """Rows whose whole text stands inside another's.

    The first words of a text must occur in any text that contains it: they are the key under which it waits, and one
    pass over all windows of that many words finds the candidates.
    """
    waiting: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        first = next(shingles(row.words, least_words, short=False), None)
        if first is not None:
            waiting[first].append(index)
    for outer, row in enumerate(rows):
        windows = (window for window in shingles(row.words, least_words, short=False) if window in waiting)
        for inner in {index for window in windows for index in waiting[window]}:
            if rows[inner].side != row.side and contains(row.words, rows[inner].words):
                yield (inner, outer)


def _near(rows: Sequence[_Row], config: OverlapConfig) -> Iterator[tuple[int, int]]:
    return near_duplicates(
        [row.words for row in rows],
        [row.side for row in rows],
        jaccard=config.jaccard,
        shingle_words=config.shingle_words,
    )


def _overlap(kind: str, left: _Row, right: _Row) -> Overlap:
    first, second = sorted((left, right), key=lambda row: (row.part, row.id))
    return Overlap(kind, first.part, first.id, second.part, second.id)
