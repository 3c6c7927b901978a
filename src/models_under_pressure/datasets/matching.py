"""Texts of different sides that stand in one another or are nearly equal, in time linear in their words.

Texts are words with one space between (`folding.fold`). Runs of words are compared by 64-bit hashes of BLAKE2b words.
"""

import functools
import hashlib
import operator
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt64

    Hashes = UInt64[np.ndarray, "hashes"]


_PERMUTATIONS = 128
"""Hash functions of a MinHash: a standard error of 1/sqrt(128) = 0.09 in the estimate, which is then verified."""
_THRESHOLD_MOST = 0.9
"""The index takes no threshold of 1, and each candidate is verified."""
_LOW_BITS = 0xFFFFFFFF
"""What a MinHash takes of a hash."""
_MULTIPLIER = 0x9E3779B97F4A7C15
"""Odd, so that its powers tell the places of a run apart: 2^64 over the golden ratio (Knuth, TAOCP 3, section 6.4)."""


@dataclass(frozen=True, slots=True)
class Text:
    """Something that a row says."""

    row: int
    side: str
    """Texts of one side are not held against each other."""
    words: str
    """Folded."""
    is_turn: bool = False
    """Whether it is not all that the row says."""


def contains(outer: str, inner: str) -> bool:
    """Whether the words of `inner` stand in `outer`, one after another, and are not all of it."""
    return outer != inner and f" {inner} " in f" {outer} "


def contained(inner: Sequence[Text], outer: Sequence[Text], *, least_words: int) -> Iterator[tuple[Text, Text]]:
    """Yield the texts of `least_words` or more that stand whole in one of another side, and that one.

    The first words of a text must occur in any text that contains it: they are the key under which it waits, and one
    pass over all runs of that many words finds the candidates.
    """
    import numpy as np

    hashed = _Hashed()
    waiting: dict[int, list[Text]] = defaultdict(list)
    for text in inner:
        for first in _runs(hashed.of(text.words, most=least_words), least_words).tolist():
            waiting[first].append(text)
    if not waiting:
        return
    keys = np.sort(np.fromiter(waiting, dtype=np.uint64))
    for text in outer:
        runs = _runs(hashed.of(text.words), least_words)
        known = runs[keys[np.minimum(np.searchsorted(keys, runs), len(keys) - 1)] == runs]
        for key in dict.fromkeys(known.tolist()):
            for one in waiting[key]:
                if one.side != text.side and contains(text.words, one.words):
                    yield one, text


def near_duplicates(texts: Sequence[Text], *, jaccard: float, shingle_words: int) -> Iterator[tuple[Text, Text]]:
    """Yield the pairs on different sides whose shingles have at least this Jaccard similarity.

    Each side has an index of its own, so that rows alike within a side cost nothing; the largest side is looked up
    row by row and never held.
    """
    from datasketch import MinHash, MinHashLSH

    hashed = _Hashed()
    sketch: Any = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=operator.index)
    held: dict[int, Hashes] = {}
    indexes: list[Any] = []
    members: dict[str, list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        members[text.side].append(number)
    by_size = sorted(members.values(), key=lambda numbers: (len(numbers), numbers))
    for numbers in by_size:
        index: Any = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(min(jaccard, _THRESHOLD_MOST)))
        for number in numbers:
            own = _shingles(hashed.of(texts[number].words), shingle_words)
            if not len(own):
                continue
            sketch.clear()  # the indexes keep no sketch, and a new one draws its permutations anew
            sketch.update_batch((own & _LOW_BITS).tolist())
            candidates: list[int] = [other for earlier in indexes for other in earlier.query(sketch)]
            yield from ((texts[one], texts[number]) for one in candidates if _jaccard(own, held[one]) >= jaccard)
            if numbers is not by_size[-1]:
                held[number] = own
                index.insert(number, sketch)
        indexes.append(index)


@functools.cache
def _bands(threshold: float) -> tuple[int, int]:
    """Bands of an index for a similarity, and rows of each, which take thousands of integrals to find."""
    from datasketch import MinHashLSH

    index: Any = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    return index.b, index.r


class _Hashed(dict[str, bytes]):
    """Word -> the bytes of its hash, worked out when it first occurs."""

    def __missing__(self, word: str) -> bytes:
        self[word] = hashlib.blake2b(word.encode(), digest_size=8).digest()
        return self[word]

    def of(self, text: str, *, most: int = -1) -> "Hashes":
        """Hashes of the words of a text, or of the first ones."""
        import numpy as np

        split = text.split(" ", most)[: None if most < 0 else most] if text else []
        return np.frombuffer(b"".join(map(self.__getitem__, split)), dtype="<u8")


def _runs(words: "Hashes", count: int) -> "Hashes":
    """Hash of each run of `count` words: a polynomial of theirs modulo 2^64."""
    import numpy as np

    size = max(len(words) - count + 1, 0)
    total = np.zeros(size, dtype=np.uint64)
    for place in range(count):
        total *= np.uint64(_MULTIPLIER)
        total += words[place : place + size]
    return total


def _shingles(words: "Hashes", count: int) -> "Hashes":
    """The distinct runs of `count` words, sorted; a shorter text is one run."""
    import numpy as np

    return np.unique(_runs(words, min(count, len(words)) or 1))


def _jaccard(left: "Hashes", right: "Hashes") -> float:
    import numpy as np

    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)
