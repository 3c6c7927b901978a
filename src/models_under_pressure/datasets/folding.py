"""The words of a text in one spelling, so that copies which only look or encode differently are equal.

Two texts that a reader takes for one fold to the same words; two that say different things, in any language, do not.
docs/datasets.md has the table of what is seen through and what is not.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache

LOOK_ALIKES = {
    "a": "ɑᴀαаᎪꓮ",
    "b": "ƀƃƅʙβвᏏᏴꓐ",
    "c": "ƈȼᴄсⲥᏟꓚ",
    "d": "đɖɗᴅԁᎠᏧꓓ",
    "e": "ɇᴇεеҽᎬꓰ",
    "f": "ƒꜰϝքꓝ",
    "g": "ǥɠɡɢցԍᏀꓖ",
    "h": "ħɦʜһнհⲏᎻᏂꓧ",
    "i": "ıɨɩɪιіᎥ",
    "j": "ȷɉᴊϳјᎫꓙ",
    "k": "ƙᴋκкⲕᏦꓗ",
    "l": "łƚɫɭʟӏⲓᏞꓡꓲ",
    "m": "ɱᴍмⲙᎷꓟ",
    "n": "ŋɲɳɴηпոⲛꓠ",
    "o": "øɵᴏοоօⲟꓳ",
    "p": "ƥᴘρрⲣᏢꓑ",
    "q": "ɋԛզ",
    "r": "ɍɾʀгᎡᏒꓣ",
    "s": "ʂꜱѕտᏚᏕꓢ",
    "t": "ŧƭʈᴛτтⲧᎢꓔ",
    "u": "ʉʊᴜυսꓴ",
    "v": "ʋᴠνѵᏙꓦ",
    "w": "ɯᴡωѡԝաᏔᎳꓪ",
    "x": "χхⲭꓫ",
    "y": "ƴɏʏγуүⲩყᎩᎽꓬ",
    "z": "ƶȥᴢζⲍᏃꓜ",
    "ae": "æ",
    "oe": "œ",
    "ي": "ی",
    "ك": "ک",
}
"""Letter -> case-folded letters that look like it: Latin, Greek, Cyrillic, Armenian, Coptic, Cherokee, Lisu; Persian.

Most are prototypes of confusables.txt of Unicode Technical Standard 39, "Unicode Security Mechanisms", section 4.
Small capitals, letters with a stroke or hook, which Unicode does not decompose, and letters that look alike as capitals
only (т and T) are added; left out is what would make two common letters of one language equal (Greek σ and ο).
"""
_CAPITALS = {"Η": "H", "Μ": "M", "Ν": "N", "Υ": "Y", "Ϲ": "C", "ϲ": "c", "Ь": "b"}
"""Letters whose case folding looks like another Latin letter than they do, or like none."""
_NOT_LATIN = re.compile("[δθλξπφψбджзилфцчшщыэюя]", re.IGNORECASE)
"""Greek and Cyrillic letters without a Latin look-alike: a text that has one is no Latin in disguise."""

_BLANKS = frozenset("\u3164\u2122\u2120")
"""A blank that Unicode calls a letter, and symbols (TM, SM) that it would spell out."""
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\ufff0-\ufff8\U000e0000-\U000e0fff]")
"""Default_Ignorable_Code_Point of the Unicode Character Database, beside the format characters (category Cf)."""
_MARKS = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"  # accents, for any letter
    "\u0591-\u05bd\u05bf-\u05c7"  # Hebrew points and accents
    "\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06ed]"  # Arabic vowels, Koranic signs
)
"""Marks that are no part of a letter: accents, and the vowel signs that Hebrew and Arabic do without."""
_STRAY = re.compile(r"(?<![^\s0-9a-z\u00b5-\u052f])[^\w\s]+")
"""Marks (by then all that is neither letter nor space) of one script on Latin, Greek, Cyrillic or nothing."""
_WHOLE = frozenset("йїў")
"""Letters that Unicode decomposes, although they differ from their base as one letter from another."""

_VIETNAMESE = re.compile("[\u031b\u0323\u01a0\u01a1\u01af\u01b0\u0110\u0111\u1ea0-\u1ef9]")
_SYLLABLE = re.compile("(?:ngh?|g[hi]|kh|nh|ph|qu|t[hr]|ch|[bcdđghklmnprstvx])?[aeiouy]{1,3}(?:ch|nh|ng|[cmnpt])?")
_SYLLABLES_LEAST = 0.8
"""Share of Vietnamese syllables among the words of a Vietnamese text; among English words it is a third."""

_ENTITIES_DEEP = 4
"""How often entities are unescaped: the ampersand of an entity may be one itself, but not without end."""
_WORD_MOST = 40
"""Most characters of a token that is remembered; a longer one is a sentence without spaces, or no word."""
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff])"
)
"""Scripts written without spaces (Thai, Lao, Burmese, Khmer, kana, Han), and Hangul: each character is a word."""


def fold(text: str) -> str:
    """Words with one space between: no case, punctuation, accents or look-alike letters, in one encoding.

    HTML entities are unescaped; format characters, which nobody sees, are gone; symbols separate words. The steps are
    those of NFKC_Casefold (Unicode Standard, section 3.13) and of the skeleton of Technical Standard 39, in one pass.
    """
    for _ in range(_ENTITIES_DEEP if "&" in text else 0):
        text = html.unescape(text)
    if not text.isascii():
        disguise = any(letter in text for letter in _CAPITALS) and not _NOT_LATIN.search(text)
        vietnamese = _is_vietnamese(text)
        text = " ".join(
            token
            if token.isascii()
            else (_folded if len(token) > _WORD_MOST else _folded_word)(token, disguise, vietnamese)
            for token in text.split()
        )
    text = text.translate(_cleaned())
    return " ".join((text if text.isascii() else _UNSPACED.sub(r" \1 ", text)).split())


def _folded(token: str, disguise: bool, vietnamese: bool) -> str:
    """What is between two spaces, with letters in place of what only looks like them; `fold` does the rest."""
    if disguise:
        token = token.translate(str.maketrans(_CAPITALS))
    token = unicodedata.normalize("NFC", unicodedata.normalize("NFC", token).translate(_cleaned()))
    return token if vietnamese else unicodedata.normalize("NFC", _STRAY.sub("", token.translate(_plain())))


_folded_word = lru_cache(maxsize=1 << 16)(_folded)


class _Characters(dict[int, str]):
    """Code point -> what stands in its place, worked out when it first occurs: the form that `str.translate` reads."""

    def __init__(self, replace: Callable[[str], str]) -> None:
        super().__init__()
        self._replace = replace

    def __missing__(self, code: int) -> str:
        self[code] = self._replace(chr(code))
        return self[code]


@cache
def _cleaned() -> _Characters:
    return _Characters(_clean)


@cache
def _plain() -> _Characters:
    prototypes = {look_alike: letter for letter, alike in LOOK_ALIKES.items() for look_alike in alike}

    def plain(character: str) -> str:
        if character in _WHOLE:
            return character
        letters = _MARKS.sub("", unicodedata.normalize("NFD", character))
        return unicodedata.normalize("NFC", "".join(prototypes.get(letter, letter) for letter in letters))

    return _Characters(plain)


def _clean(character: str) -> str:
    """A space for what separates words, nothing for what is invisible, and the case-folded plain form of the rest."""
    if character in _BLANKS or character.isspace():
        return " "
    if _MARKS.match(character):
        return character  # one of them becomes a letter by case folding
    return "".join(map(_kept, unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character).casefold())))


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Cf") or _INVISIBLE.match(character):
        return ""
    if category[0] in "PSZ" or category in ("Cn", "Co", "Cs") or "\u02b9" <= character <= "\u02df":
        return " "
    return str(unicodedata.digit(character)) if category == "Nd" else character


def _is_vietnamese(text: str) -> bool:
    """Whether the accents of a text are those of Vietnamese, where they tell words apart."""
    if not _VIETNAMESE.search(text):
        return False
    bare = _MARKS.sub("", unicodedata.normalize("NFD", text.translate(_cleaned()))).split()
    return sum(_SYLLABLE.fullmatch(word) is not None for word in bare) >= _SYLLABLES_LEAST * len(bare)
