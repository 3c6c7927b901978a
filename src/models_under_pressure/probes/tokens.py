"""Reading the tokens that a probe sees: chosen by role, checked, a bounded block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from models_under_pressure.activations.ragged import ASSISTANT, SYSTEM, TEMPLATE, USER, Activations
from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.family import Role
from models_under_pressure.probes.sentences import token_ids

_CODES: dict[Role, int] = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT, "template": TEMPLATE}

BLOCK_VALUES = 1 << 22
"""Activation values read at once: 16 MiB as float32."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The tokens of some activations that have one of the chosen roles."""

    activations: Activations
    chosen: Bool[np.ndarray, "tokens"]
    offsets: Int64[np.ndarray, "records_plus_1"]
    """Offsets of the records among the chosen tokens."""
    sentence_ends: Bool[np.ndarray, "chosen"] | None = None
    """Whether a chosen token closes a sentence, where that is asked for."""

    @property
    def records(self) -> int:
        """Number of records."""
        return len(self.offsets) - 1


@dataclass(frozen=True, eq=False)
class Block:
    """The chosen tokens of consecutive records."""

    first: int
    """Index of the first record."""
    values: Float32[np.ndarray, "tokens hidden"]
    offsets: Int64[np.ndarray, "records_plus_1"]
    """Offsets of the block's records within `values`."""


def select(
    activations: Activations,
    roles: tuple[Role, ...],
    sentence_end_ids: Int64[np.ndarray, "ids"] | None = None,
    *,
    first_token: bool = False,
) -> Selection:
    """Choose tokens by role; with `sentence_end_ids`, find where sentences end.

    Args:
        activations: of all tokens.
        roles: what to choose.
        sentence_end_ids: tokens that close a sentence.
        first_token: also choose the first token of a record where it is of the chat template; it always is chosen where
            no other is.

    Raises:
        UserError: there are no records, or some have no token of these roles.
    """
    if not len(activations.ids):
        raise UserError("there are no records.", remedy="check the dataset that the activations come from.")
    chosen = np.isin(np.asarray(activations.roles), [_CODES[role] for role in roles])
    if not first_token:
        _leave_out_first(chosen, activations)
    offsets = _offsets_of(chosen, activations)
    empty = np.flatnonzero(np.diff(offsets) == 0)
    if len(empty):
        raise UserError(
            f"{len(empty)} records have no token with the role {' or '.join(roles)}, "
            f"first {activations.ids[int(empty[0])]!r}.",
            remedy="drop these records, or let the probe see more roles (`tokens` in its config).",
        )
    ends = None if sentence_end_ids is None else np.isin(token_ids(activations)[chosen], sentence_end_ids)
    return Selection(activations, chosen, offsets, ends)


def _leave_out_first(chosen: Bool[np.ndarray, "tokens"], activations: Activations) -> None:
    first = np.asarray(activations.offsets)[:-1]
    others = np.diff(_offsets_of(chosen, activations)) > 1
    chosen[first[others & (np.asarray(activations.roles)[first] == TEMPLATE)]] = False


def _offsets_of(chosen: Bool[np.ndarray, "tokens"], activations: Activations) -> Int64[np.ndarray, "records_plus_1"]:
    return np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])[np.asarray(activations.offsets)]


def record_blocks(offsets: Int64[np.ndarray, "records_plus_1"], hidden: int) -> list[tuple[int, int]]:
    """Cut records into runs of about `BLOCK_VALUES` values (a longer record is a run of its own)."""
    limit = max(1, BLOCK_VALUES // hidden)
    runs = []
    first = 0
    while first < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[first] + limit, side="right")) - 1
        stop = max(stop, first + 1)
        runs.append((first, stop))
        first = stop
    return runs


def read_block(selection: Selection, first: int, stop: int) -> Block:
    """Read the chosen tokens of the records from `first` up to but not including `stop`.

    Raises:
        UserError: an activation is NaN or infinite.
    """
    activations = selection.activations
    start, end = int(activations.offsets[first]), int(activations.offsets[stop])
    values = activations.read(start, end)
    chosen = selection.chosen[start:end]
    if not chosen.all():
        values = values[chosen]
    offsets = selection.offsets[first : stop + 1] - selection.offsets[first]
    # A sum is NaN or infinite if any value is (or if finite ones overflow: then the search finds none).
    if not np.isfinite(values.sum(axis=0)).all():
        refuse_non_finite(values, offsets, activations, first)
    return Block(first, values, offsets)


def read_blocks(selection: Selection) -> Iterator[Block]:
    """Read all chosen tokens once, in order."""
    for first, stop in record_blocks(selection.activations.offsets, selection.activations.hidden):
        yield read_block(selection, first, stop)


def refuse_non_finite(
    values: Float32[np.ndarray, "tokens hidden"],
    offsets: Int64[np.ndarray, "records_plus_1"],
    activations: Activations,
    first: int,
) -> None:
    """Name the first record with a value that is NaN or infinite.

    Raises:
        UserError: there is one.
    """
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        record = first + int(np.searchsorted(offsets, bad[0], side="right")) - 1
        raise UserError(
            f"{len(bad)} tokens have activations that are NaN or infinite, first in record "
            f"{activations.ids[record]!r}.",
            remedy="extract them again, in bfloat16 or float32 (float16 overflows).",
        )
