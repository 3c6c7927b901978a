"""The text of each token of a conversation, and as much of it as may be shown."""

import unicodedata
from collections.abc import Sequence
from typing import Any

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 8
"""Tokens after which a broken character is taken to be broken in the text itself."""

_HARMLESS = "\n\t\u200c\u200d"
"""Line feed, tab, and the joiners of Indic scripts, Persian and emoji."""


def token_texts(token_ids: Sequence[int], tokenizer: Any) -> list[str]:
    """Text of each token, which together are the text of all.

    A character whose bytes are several tokens stands at the last of them; the others are empty.
    """
    texts: list[str] = []
    pending: list[int] = []
    for token_id in token_ids:
        pending.append(token_id)
        text = tokenizer.decode(pending, clean_up_tokenization_spaces=False)
        if text.endswith(_BROKEN) and len(pending) < _LONGEST:
            texts.append("")
            continue
        texts.append(text)
        pending = []
    if pending:
        texts[-1] = tokenizer.decode(pending, clean_up_tokenization_spaces=False)
    return texts


def printable(text: str) -> str:
    """Text with control and format characters as visible escapes, but for those that ordinary writing needs."""
    return "".join(
        character
        if character in _HARMLESS or not unicodedata.category(character).startswith("C")
        else character.encode("unicode_escape").decode()
        for character in text
    )
