"""Finding a text in the tokens of a conversation, one token at a time.

The text is looked for as characters, not as token ids: how a tokenizer cuts it depends on what stands around it. What a
token does to the search is worked out once, from the vocabulary (Knuth, Morris and Pratt 1977), so that scoring needs
token ids only, and a token of a running conversation costs the same whenever it comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int64

from models_under_pressure.core.errors import UserError

MARKER_IDS, MARKER_MOVES = "marker_ids", "marker_moves"
"""Weights of a probe that sees what follows a marker."""


@dataclass(frozen=True, eq=False)
class Marker:
    """A text, as a search that tokens move; its state is how many of its characters have just been read."""

    ids: Int64[np.ndarray, "known"]
    """Ids, ascending, of the tokens that leave another state than 0; all others do."""
    moves: Int64[np.ndarray, "known states"]
    """State after each of them, by the state before; `-1 - state` where the text ends in it."""

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The arrays that a probe keeps."""
        return {MARKER_IDS: self.ids, MARKER_MOVES: self.moves}

    def step(self, token_id: int, state: int) -> tuple[int, bool]:
        """Read one more token: the state after it, and whether the text ends in it."""
        row = int(self.ids.searchsorted(token_id))
        if row == len(self.ids) or self.ids[row] != token_id:
            return 0, False
        move = int(self.moves[row, state])
        return (-1 - move, True) if move < 0 else (move, False)

    def follows(
        self, token_ids: Int[np.ndarray, "tokens"], offsets: Int64[np.ndarray, "records_plus_1"]
    ) -> Bool[np.ndarray, "tokens"]:
        """Whether a token stands after the one in which the text ends for the last time in its record."""
        last = np.full(len(offsets) - 1, len(token_ids))
        before, record, state = -1, -1, 0
        for place in np.flatnonzero(np.isin(token_ids, self.ids)).tolist():
            own = int(offsets.searchsorted(place, side="right")) - 1
            if place != before + 1 or own != record:
                state = 0
            state, is_end = self.step(int(token_ids[place]), state)
            before, record = place, own
            if is_end:
                last[own] = place
        return np.arange(len(token_ids)) > np.repeat(last, np.diff(offsets))


def marker_of_weights(weights: Mapping[str, np.ndarray]) -> Marker | None:
    """The marker that a probe keeps; None if it has none."""
    return Marker(weights[MARKER_IDS], weights[MARKER_MOVES]) if MARKER_IDS in weights else None


def checked_marker(weights: Mapping[str, np.ndarray], text: str) -> None:
    """Refuse arrays that are no search for a text of that length.

    Raises:
        ValueError: saying what is wrong.
    """
    ids, moves = weights[MARKER_IDS], weights[MARKER_MOVES]
    if ids.dtype.kind != "i" or moves.dtype.kind != "i" or ids.ndim != 1 or moves.shape != (len(ids), len(text)):
        raise ValueError(f"{MARKER_IDS} and {MARKER_MOVES} are no search for a text of {len(text)} characters")
    if (np.diff(ids) <= 0).any() or (moves >= len(text)).any() or (moves < -len(text)).any():
        raise ValueError(f"{MARKER_IDS} do not ascend, or {MARKER_MOVES} are out of range")


def marker_of_model(text: str, attributes: Mapping[str, Any]) -> Marker:
    """The marker in the tokens of the model that made the activations.

    Raises:
        UserError: the tokenizer cannot be loaded, or cuts the text within a character.
    """
    from models_under_pressure.activations.model import describe_model, model_of

    tokenizer = describe_model(model_of(attributes)).tokenizer
    marker = marker_of_texts(text, _texts(tokenizer))
    own = np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)
    after = np.append(own, own[:1])
    if not len(own) or not marker.follows(after, np.array([0, len(after)]))[-1]:
        remedy = "choose another text for `after`, of plain characters."
        raise UserError(f"the tokenizer cuts {text!r} within a character, or changes it.", remedy=remedy)
    return marker


def marker_of_texts(text: str, texts: Sequence[str]) -> Marker:
    """The search for `text` by tokens with these texts, in the order of their ids."""
    beginnings = tuple(text[:size] for size in range(1, len(text) + 1))
    endings = tuple(text[size:] for size in range(len(text)))

    def move(piece: str, state: int) -> int:
        read = text[:state] + piece
        after = next((size for size in range(len(text) - 1, 0, -1) if read.endswith(text[:size])), 0)
        return -1 - after if text in read else after

    rows = {
        number: [move(piece, state) for state in range(len(text))]
        for number, piece in enumerate(texts)
        if piece in text or text in piece or piece.endswith(beginnings) or piece.startswith(endings)
    }
    moves = np.array(list(rows.values()), dtype=np.int64).reshape(len(rows), len(text))
    return Marker(np.array(list(rows), dtype=np.int64), moves)


def _texts(tokenizer: Any) -> list[str]:
    """The text that each token adds to one before it; alone, some tokenizers would leave out its space."""
    plain: dict[str, Any] = {"clean_up_tokenization_spaces": False, "skip_special_tokens": False}
    lead = tokenizer("a", add_special_tokens=False)["input_ids"]
    begin = tokenizer.decode(lead, **plain)
    texts = tokenizer.batch_decode([[*lead, number] for number in range(len(tokenizer))], **plain)
    return [text.removeprefix(begin) for text in texts]
