"""Words of a text, and runs of words, for comparing content."""

import re
from collections.abc import Iterator

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
