"""Content that splits share: the gate that keeps test rows out of training and development.

Rows are compared on the source's own text (`core_text`), before any formatting: a heading that a recipe adds would
hide two equal notes from each other. Every check is linear in the words of the splits, plus the pairs found.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.datasets.parsed import core_text, normalised
from models_under_pressure.records import Record

if TYPE_CHECKING:
    import numpy as np
    from datasketch import MinHash
    from jaxtyping import UInt64

    Shingles = UInt64[np.ndarray, "shingles"]

_PERMUTATIONS = 128
"""Hash functions of a MinHash: a standard error of 1/sqrt(128) = 0.09 in the estimate, which is then verified."""


class OverlapConfig(BaseModel):
    """What counts as overlap."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jaccard: float = Field(gt=0, le=1)
    """Least share of common word shingles that makes two texts near-duplicates."""
    shingle_words: int = Field(ge=1)
    """Words of a shingle."""
    containment_words: int = Field(ge=1)
    """Least words of a text that is looked for inside others; shorter ones occur anywhere."""


@dataclass(frozen=True, slots=True, order=True)
class Overlap:
    """Two rows of different splits that share something."""

    kind: str
    """`id`, `text` (equal but for case and white space), `group`, `contains` or `near`."""
    left_split: str
    left_id: str
    right_split: str
    right_id: str


@dataclass(frozen=True, slots=True)
class _Row:
    split: str
    id: str
    group: str
    text: str


def find_overlaps(splits: Mapping[str, Sequence[Record]], config: OverlapConfig) -> list[Overlap]:
    """Every pair of rows in different splits that overlap, sorted; a pair of equal text is not reported as near too."""
    rows = [
        _Row(split, record.id, record.group, normalised(core_text(record)))
        for split, records in splits.items()
        for record in records
    ]
    same_text = set(_equal(rows, "text", lambda row: row.text))
    found = {*_equal(rows, "id", lambda row: row.id), *same_text, *_equal(rows, "group", lambda row: row.group)}
    known = {_places(overlap) for overlap in same_text}
    contained = {overlap for overlap in _contained(rows, config.containment_words) if _places(overlap) not in known}
    known |= {_places(overlap) for overlap in contained}
    near = {overlap for overlap in _near(rows, config) if _places(overlap) not in known}
    return sorted(found | contained | near)


def _equal(rows: Sequence[_Row], kind: str, key: Callable[[_Row], str]) -> Iterator[Overlap]:
    together: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        together[key(row)].append(row)
    for members in together.values():
        for index, left in enumerate(members):
            yield from (_overlap(kind, left, right) for right in members[index + 1 :] if left.split != right.split)


def _contained(rows: Sequence[_Row], least_words: int) -> Iterator[Overlap]:
    """Rows whose whole text stands inside another's.

    The first words of a text must occur in any text that contains it: they are the key under which it waits, and one
    pass over all windows of that many words finds the candidates.
    """
    waiting: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        words = row.text.split()
        if len(words) >= least_words:
            waiting[" ".join(words[:least_words])].append(row)
    for outer in rows:
        candidates = {
            (inner.split, inner.id): inner
            for window in _shingles(outer.text, least_words)
            for inner in waiting.get(window, ())
        }
        for inner in candidates.values():
            if inner.split != outer.split and inner.text != outer.text and f" {inner.text} " in f" {outer.text} ":
                yield _overlap("contains", inner, outer)


def _near(rows: Sequence[_Row], config: OverlapConfig) -> Iterator[Overlap]:
    """Rows that share most of their shingles: candidates by MinHash and LSH, each verified exactly.

    Each split has an index of its own, so that rows alike within a split cost nothing.
    """
    from datasketch import MinHashLSH

    shingles = [_hashed(_shingles(row.text, config.shingle_words)) for row in rows]
    indexes = {row.split: MinHashLSH(threshold=config.jaccard, num_perm=_PERMUTATIONS) for row in rows}
    for number, (row, own) in enumerate(zip(rows, shingles, strict=True)):
        if not len(own):
            continue
        sketch = _sketch(own)
        for split, index in indexes.items():
            if split == row.split:
                continue
            for other in index.query(sketch):
                if _jaccard(own, shingles[other]) >= config.jaccard:
                    yield _overlap("near", rows[other], row)
        indexes[row.split].insert(number, sketch)


def _hashed(shingles: Iterable[str]) -> "Shingles":
    """The distinct shingles as sorted 64-bit hashes: a tenth of the memory of their text."""
    import numpy as np

    values = [
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in set(shingles)
    ]
    return np.sort(np.array(values, dtype=np.uint64))


def _sketch(shingles: "Shingles") -> "MinHash":
    from datasketch import MinHash

    sketch = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=_low_bits)
    sketch.update_batch(shingles.tolist())
    return sketch


def _low_bits(value: int) -> int:
    return value & 0xFFFFFFFF


def _shingles(text: str, words: int) -> Iterator[str]:
    split = text.split()
    if split and len(split) < words:
        yield text
    yield from (" ".join(split[start : start + words]) for start in range(len(split) - words + 1))


def _jaccard(left: "Shingles", right: "Shingles") -> float:
    import numpy as np

    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)


def _overlap(kind: str, left: _Row, right: _Row) -> Overlap:
    first, second = sorted((left, right), key=lambda row: (row.split, row.id))
    return Overlap(kind, first.split, first.id, second.split, second.id)


def _places(overlap: Overlap) -> tuple[str, str, str, str]:
    return (overlap.left_split, overlap.left_id, overlap.right_split, overlap.right_id)
