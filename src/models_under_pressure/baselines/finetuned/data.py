"""Labelled conversations as a finetuned model reads them."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int64

from models_under_pressure.activations.blocks import blocks_of
from models_under_pressure.activations.model import ModelDescription
from models_under_pressure.activations.tokens import TokenisationReport, TokenisedRecord, tokenise
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.core.files import stable_uniform

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, eq=False)
class Split:
    """Tokenised records with their labels."""

    records: tuple[TokenisedRecord, ...]
    labels: Bool[np.ndarray, "records"]
    report: TokenisationReport
    """What was cut or changed so that the model can read it."""

    @property
    def lengths(self) -> Int64[np.ndarray, "records"]:
        """Tokens of each record."""
        return np.array([len(record.token_ids) for record in self.records], dtype=np.int64)


def tokenised_split(data: LabelledRecords, model: ModelDescription, config: FinetuneConfig) -> Split:
    """Render conversations through the model's chat template, and cut long ones with a warning.

    Raises:
        UserError: the template refuses a record.
    """
    tokenised, report = tokenise(
        data.records,
        model.tokenizer,
        name=model.name,
        max_tokens=config.max_tokens,
        truncation_side=config.truncation_side,
    )
    if report.truncated:
        logging.getLogger(__name__).warning(
            "%s: %d of %d records cut to %d tokens", data.name, len(report.truncated), len(tokenised), config.max_tokens
        )
    return Split(tuple(tokenised), data.labels, report)


def draw_groups(data: LabelledRecords, rows: int | None, *, seed: int) -> LabelledRecords:
    """At most `rows` records, as whole groups: those that come first when groups are drawn in a seeded order.

    A larger number extends a smaller draw.
    """
    if rows is None or rows >= len(data.records):
        return data
    members: dict[str, list[int]] = {}
    for row, group in enumerate(data.groups):
        members.setdefault(group, []).append(row)
    chosen: list[int] = []
    for group in sorted(members, key=lambda name: (stable_uniform("finetune", seed, name), name)):
        if len(chosen) + len(members[group]) > rows:
            break
        chosen += members[group]
    return LabelledRecords(data.name, tuple(data.records[row] for row in sorted(chosen)))


class FrozenStates(threading.local):
    """The hidden states [tokens, hidden] that enter the first trained block, by the record's tokens."""

    def __init__(self, states: "Mapping[bytes, torch.Tensor]") -> None:
        self._states = states
        self.present: torch.Tensor | None = None

    def lay_out(self, batch: Sequence[np.ndarray], tokens: "torch.Tensor", *, packed: bool) -> None:
        """Place the states of a batch as its tokens are placed, for the thread's next forward pass.

        Args:
            batch: token ids of each record.
            tokens: the pass's token ids [rows, width].
            packed: whether the records share a row.

        Raises:
            KeyError: a record's states were not computed.
        """
        parts = [self._states[one.tobytes()] for one in batch]
        self.present = parts[0].new_zeros(*tokens.shape, parts[0].shape[-1])
        for place, part in zip(places(batch, packed=packed), parts, strict=True):
            self.present[place] = part


def places(batch: Sequence[np.ndarray], *, packed: bool) -> list[tuple[int, slice]]:
    """(row, columns) of each record in a batch: one row holds all, or each has its own."""
    if not packed:
        return [(row, slice(0, len(one))) for row, one in enumerate(batch)]
    ends = np.cumsum([len(one) for one in batch]).tolist()
    return [(0, slice(end - len(one), end)) for one, end in zip(batch, ends, strict=True)]


@contextmanager
def skipping(decoder: Any, block: int, states: FrozenStates) -> Iterator[None]:
    """Let the decoder begin at a block, with the states laid out."""
    blocks = blocks_of(decoder)
    with ExitStack() as stack:
        for module in blocks[:block]:
            stack.enter_context(_idle(module))
        handle = blocks[block].register_forward_pre_hook(partial(_put, states), with_kwargs=True)
        stack.callback(handle.remove)
        yield


@contextmanager
def _idle(module: "nn.Module") -> Iterator[None]:
    """Let a block hand its input on."""
    own = vars(module).get("forward")
    module.forward = _first_argument
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _first_argument(hidden_states: "torch.Tensor", *_: Any, **__: Any) -> "torch.Tensor":
    return hidden_states


def _put(
    states: FrozenStates, _module: "nn.Module", args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    assert states.present is not None
    if args:
        return (states.present, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": states.present}
