"""The text of each token of a conversation."""

from collections.abc import Sequence
from typing import Any

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 8
"""Tokens after which a broken character is taken to be broken in the text itself."""


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
