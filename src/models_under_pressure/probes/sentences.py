"""Which tokens close a sentence."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.core.errors import UserError

SENTENCE_END_IDS = "sentence_end_ids"
"""Weight of a probe: ids of the tokens that close a sentence."""

_END = re.compile(r"""[.!?。！？]["'”’»)\]]*\s*$""")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def ends_of_model(attributes: Mapping[str, Any]) -> Int64[np.ndarray, "ids"]:
    """Ids of the tokens that close a sentence, from the tokenizer of the model that made the activations.

    Raises:
        UserError: the tokenizer cannot be loaded.
    """
    from models_under_pressure.activations.config import ModelConfig
    from models_under_pressure.activations.model import describe_model

    revision = str(attributes.get("revision"))
    known = revision if _COMMIT.fullmatch(revision) else None  # local models have fingerprints, which name no commit
    tokenizer = describe_model(ModelConfig(name=attributes["model"], revision=known)).tokenizer
    texts = tokenizer.batch_decode([[number] for number in range(len(tokenizer))])
    return np.array(sentence_end_ids(texts), dtype=np.int64)


def sentence_end_ids(texts: Iterable[str]) -> list[int]:
    """Ids of the tokens whose text ends in `.`, `!` or `?`, closing quotes and spaces aside.

    Args:
        texts: decoded text of every token of a vocabulary, in the order of their ids.
    """
    return [number for number, text in enumerate(texts) if _END.search(text)]


def token_ids(activations: Activations) -> Int32[np.ndarray, "tokens"]:
    """Token ids of a store.

    Raises:
        UserError: the activations come without them.
    """
    found = getattr(activations, "token_ids", None)
    if found is None:
        raise UserError(
            "the activations come without token ids, so that sentences cannot be told apart.",
            remedy="read them from a store.",
        )
    return np.asarray(found)
