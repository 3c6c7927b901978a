"""Which tokens close a sentence."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.errors import UserError

SENTENCE_END_IDS = "sentence_end_ids"
"""Attribute of activations, and weight of a probe: ids of the tokens that close a sentence."""

_END = re.compile(r"""[.!?。！？]["'”’»)\]]*\s*$""")


def sentence_end_ids(texts: Iterable[str]) -> list[int]:
    """Ids of the tokens whose text ends in `.`, `!` or `?`, closing quotes and spaces aside.

    Args:
        texts: decoded text of every token of a vocabulary, in the order of their ids.
    """
    return [number for number, text in enumerate(texts) if _END.search(text)]


def known_sentence_ends(attributes: Mapping[str, Any]) -> Int64[np.ndarray, "ids"]:
    """The ids that the extraction recorded.

    Raises:
        UserError: it recorded none.
    """
    if not attributes.get(SENTENCE_END_IDS):
        raise UserError(
            f"the activations do not say which tokens end a sentence (attribute `{SENTENCE_END_IDS}`).",
            remedy="extract them again, or use a probe family that does not divide into sentences.",
        )
    return np.asarray(attributes[SENTENCE_END_IDS], dtype=np.int64)


def token_ids(activations: Activations) -> Int32[np.ndarray, "tokens"]:
    """Token ids of a store.

    Raises:
        UserError: the activations come without them.
    """
    found = getattr(activations, "token_ids", None)
    if found is None:
        raise UserError("the activations come without token ids.", remedy="read them from a store.")
    return np.asarray(found)
