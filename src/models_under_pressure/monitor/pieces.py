"""The text of each token of a conversation, by a tokenizer's file alone: neither weights nor what loads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_under_pressure.activations.config import EMBEDDED_MODEL
from models_under_pressure.activations.embedded import embedded_model
from models_under_pressure.core.errors import UserError

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 8
"""Tokens after which a broken character is taken to be broken in the text itself."""


@dataclass(frozen=True, eq=False)
class Decoder:
    """Turns ids into text; stands for a Hugging Face tokenizer in `token_texts`."""

    tokenizer: Any
    """A `tokenizers.Tokenizer`."""

    def decode(self, token_ids: Sequence[int], *, clean_up_tokenization_spaces: bool = False) -> str:
        """The text as it was, special tokens and spaces included."""
        if clean_up_tokenization_spaces:
            raise ValueError("a cleaned text is not the text that the model read")
        return self.tokenizer.decode(list(token_ids), skip_special_tokens=False)


def load_decoder(origin: Mapping[str, Any]) -> Decoder:
    """The tokenizer of the model that activations are of.

    Args:
        origin: attributes of the activations, `model` and `revision` among them.

    Raises:
        UserError: there is no fast tokenizer of the model, here or on the hub.
    """
    from tokenizers import Tokenizer

    name, revision = str(origin["model"]), str(origin.get("revision") or "main")
    folder = embedded_model() if name == EMBEDDED_MODEL else Path(name).expanduser()
    try:
        if folder.is_dir():
            return Decoder(Tokenizer.from_file(str(folder / "tokenizer.json")))
        return Decoder(Tokenizer.from_pretrained(name, revision=revision))
    except Exception as error:  # the library raises bare exceptions
        message = str(error).strip().splitlines()[0]
        raise UserError(
            f"the tokenizer cannot be loaded ({message}).", where=name, remedy="check the name and the network."
        ) from error


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
