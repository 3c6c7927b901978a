"""Reading the tokens that a probe sees: chosen by role, checked, a bounded block at a time."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64

from models_under_pressure.activations.ragged import (
    ASSISTANT,
    SYSTEM,
    TEMPLATE,
    THINKING,
    TOOL,
    USER,
    Activations,
)
from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.family import Role
from models_under_pressure.probes.markers import Marker

SENTENCE_END_IDS = "sentence_end_ids"
"""Weight of a probe: ids of the tokens that close a sentence."""

BLOCK_VALUES = 1 << 22
"""Activation values read at once: 16 MiB as float32."""

SAMPLE = 1024
"""Evenly spaced tokens kept as a sample."""

ROLES: dict[Role, int] = {
    "system": SYSTEM,
    "user": USER,
    "assistant": ASSISTANT,
    "template": TEMPLATE,
    "tool": TOOL,
    "thinking": THINKING,
}
"""Name of a role -> its code."""


def seen_roles(roles: Sequence[Role]) -> tuple[Role, ...]:
    """The roles that a probe sees, by those that its config names.

    system, user and assistant together are all that is said, as they were before `tool` and `thinking` were roles of
    their own: a probe that names these three and neither of the two sees both.
    """
    is_all = {"system", "user", "assistant"} <= set(roles) and not {"tool", "thinking"} & set(roles)
    return (*roles, "tool", "thinking") if is_all else tuple(roles)


_END = re.compile(r"""[.!?。！？]["'”’»)\]]*\s*$""")
"""A sentence's end, before closing quotes and spaces."""


def ends_of_model(attributes: Mapping[str, Any]) -> Int64[np.ndarray, "ids"]:
    """Ids of the tokens that close a sentence, from the tokenizer of the model that made the activations.

    Raises:
        UserError: the tokenizer cannot be loaded.
    """
    from models_under_pressure.activations.model import describe_model, model_of

    tokenizer = describe_model(model_of(attributes)).tokenizer
    texts: list[str] = tokenizer.batch_decode([[number] for number in range(len(tokenizer))])
    return np.array([number for number, text in enumerate(texts) if _END.search(text)], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Selection:
    """The tokens of some activations that have one of the chosen roles."""

    activations: Activations
    chosen: Bool[np.ndarray, "tokens"]
    offsets: Int64[np.ndarray, "records_plus_1"]
    """Offsets of the records among the chosen tokens."""
    sentence_ends: Bool[np.ndarray, "chosen"] | None = None
    """Whether a chosen token closes a sentence, where that is asked for."""
    end_ids: Int64[np.ndarray, "ids"] | None = None
    """Ids of the tokens that close a sentence."""
    marker: Marker | None = None
    """What the chosen tokens stand after, where that is asked for."""

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
    end_ids: Int64[np.ndarray, "ids"] | None = None,
    *,
    first_token: bool = False,
    marker: Marker | None = None,
    last: int | None = None,
) -> Selection:
    """Choose tokens by role and place.

    Args:
        activations: activations of all tokens.
        roles: the roles to choose.
        end_ids: ids of the tokens that close a sentence, where the sentences are asked for.
        first_token: also choose the first token of a record where it is of the chat template; it always is chosen where
            no other is.
        marker: choose only what stands after its last occurrence in a record.
        last: choose only so many of a record's last tokens, of those that are left.

    Raises:
        UserError: there are no records, some have no such token, or sentences or a marker are asked for and there are
            no token ids.
    """
    if not len(activations.ids):
        raise UserError("there are no records.", remedy="check the dataset that the activations come from.")
    chosen = np.isin(np.asarray(activations.roles), [ROLES[role] for role in seen_roles(roles)])
    if (marker or last) and activations.attributes.get("keep", "tokens") != "tokens":
        problem = "the activations are one vector per conversation, which has no part."
        raise UserError(problem, remedy="leave `after` and `last` out, or keep all tokens.")
    if marker:
        chosen &= marker.follows(_token_ids(activations), np.asarray(activations.offsets))
    if not first_token:
        _leave_out_first(chosen, activations)
    if last:
        counted = np.cumsum(chosen)
        ends = np.repeat(_offsets_of(chosen, activations)[1:], np.diff(np.asarray(activations.offsets)))
        chosen &= ends - counted < last
    offsets = _offsets_of(chosen, activations)
    empty = np.flatnonzero(np.diff(offsets) == 0)
    if len(empty):
        raise UserError(
            f"{len(empty)} records have no token with the role {' or '.join(roles)}"
            f"{' after the marker' if marker else ''}, first {activations.ids[int(empty[0])]!r}.",
            remedy="drop these records, or let the probe see more roles (`tokens` in its config).",
        )
    if end_ids is None:
        return Selection(activations, chosen, offsets, marker=marker)
    ends = np.isin(_token_ids(activations)[chosen], end_ids)
    return Selection(activations, chosen, offsets, ends, end_ids, marker)


def _token_ids(activations: Activations) -> Int32[np.ndarray, "tokens"]:
    found = getattr(activations, "token_ids", None)
    if found is None:
        raise UserError(
            "the activations come without token ids, so that neither sentences nor a marker are found.",
            remedy="read them from a store.",
        )
    return np.asarray(found)


def _leave_out_first(chosen: Bool[np.ndarray, "tokens"], activations: Activations) -> None:
    first = np.asarray(activations.offsets)[:-1]
    others = np.diff(_offsets_of(chosen, activations)) > 1
    chosen[first[others & (np.asarray(activations.roles)[first] == TEMPLATE)]] = False


def _offsets_of(chosen: Bool[np.ndarray, "tokens"], activations: Activations) -> Int64[np.ndarray, "records_plus_1"]:
    return np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])[np.asarray(activations.offsets)]


def record_blocks(offsets: Int64[np.ndarray, "records_plus_1"], hidden: int) -> list[tuple[int, int]]:
    """Cut records into runs of about `BLOCK_VALUES` values (a longer record is a run of its own)."""
    limit = max(1, BLOCK_VALUES // hidden)
    runs: list[tuple[int, int]] = []
    stop = 0
    while (first := stop) < len(offsets) - 1:
        end = int(offsets[first]) + limit
        stop = max(int(offsets.searchsorted(end, side="right")) - 1, first + 1)
        runs.append((first, stop))
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
    block = Block(first, values, selection.offsets[first : stop + 1] - selection.offsets[first])
    # A sum is NaN or infinite if any value is (or if finite ones overflow: then the search finds none).
    if not np.isfinite(values.sum(axis=0)).all():
        refuse_non_finite(block, activations)
    return block


def read_blocks(selection: Selection) -> Iterator[Block]:
    """Read all chosen tokens once, in order."""
    for first, stop in record_blocks(selection.activations.offsets, selection.activations.hidden):
        yield read_block(selection, first, stop)


def refuse_non_finite(block: Block, activations: Activations) -> None:
    """Name the first record with a value that is NaN or infinite.

    Raises:
        UserError: there is one.
    """
    bad = np.flatnonzero(~np.isfinite(block.values).all(axis=1))
    if len(bad):
        record = block.first + int(block.offsets.searchsorted(int(bad[0]), side="right")) - 1
        raise UserError(
            f"{len(bad)} tokens have activations that are NaN or infinite, first in record "
            f"{activations.ids[record]!r}.",
            remedy="extract them again, in bfloat16 or float32 (float16 overflows).",
        )


@dataclass(frozen=True, eq=False)
class Survey:
    """Vectors found by one pass over the tokens."""

    means: Float[np.ndarray, "records hidden"]
    """Mean of each record's tokens."""
    lasts: Float[np.ndarray, "records hidden"]
    """Last token of each record."""
    sample: Float[np.ndarray, "sampled hidden"]
    """`SAMPLE` evenly spaced tokens."""


def survey(selection: Selection) -> Survey:
    """Read the tokens once."""
    records, hidden, total = selection.records, selection.activations.hidden, int(selection.offsets[-1])
    means = np.empty((records, hidden))
    lasts = np.empty((records, hidden), dtype=np.float32)
    sampled = np.unique(np.linspace(0, total - 1, min(total, SAMPLE)).astype(np.int64))
    sample = np.empty((len(sampled), hidden), dtype=np.float32)
    for block in read_blocks(selection):
        own = slice(block.first, block.first + len(block.offsets) - 1)
        bounds = zip(block.offsets[:-1], block.offsets[1:], strict=True)
        # One sum per record: five times as fast as `np.add.reduceat` with a wider type.
        sums = [block.values[begin:end].sum(axis=0, dtype=np.float64) for begin, end in bounds]
        means[own] = np.array(sums) / np.diff(block.offsets)[:, None]
        lasts[own] = block.values[block.offsets[1:] - 1]
        start = int(selection.offsets[block.first])
        inside = slice(*np.searchsorted(sampled, [start, start + len(block.values)]))
        sample[inside] = block.values[sampled[inside] - start]
    return Survey(means, lasts, sample)
