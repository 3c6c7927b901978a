"""Texts that share most of their word shingles: candidates by MinHash and LSH, each verified exactly."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from models_under_pressure.datasets.words import shingles

if TYPE_CHECKING:
    import numpy as np
    from datasketch import MinHash
    from jaxtyping import UInt64

    Shingles = UInt64[np.ndarray, "shingles"]

_PERMUTATIONS = 128
"""Hash functions of a MinHash: a standard error of 1/sqrt(128) = 0.09 in the estimate, which is then verified."""


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
    indexes: list[MinHashLSH] = []
    members: dict[str, list[int]] = defaultdict(list)
    for number, side in enumerate(sides):
        members[side].append(number)
    by_size = sorted(members.values(), key=lambda numbers: (len(numbers), numbers))
    for numbers in by_size:
        index = MinHashLSH(threshold=jaccard, num_perm=_PERMUTATIONS)
        for number in numbers:
            own = _hashed(shingles(texts[number], shingle_words))
            if not len(own):
                continue
            sketch = _sketch(own, blank)
            candidates = cast("list[int]", [other for earlier in indexes for other in earlier.query(sketch)])
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
    sketch = blank.copy()  # drawing the permutations anew for each text takes longer than the sketch
    sketch.update_batch(own.tolist())
    return sketch


def _low_bits(value: int) -> int:
    return value & 0xFFFFFFFF


def _jaccard(left: "Shingles", right: "Shingles") -> float:
    import numpy as np

    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)
