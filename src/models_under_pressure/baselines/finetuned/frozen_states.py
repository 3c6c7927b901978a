"""What frozen blocks make of records: computed once, and put where it would be computed again.

The blocks below the trained ones never change and have no dropout, so that what they make of a record is a function of
its tokens alone.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from models_under_pressure.activations.blocks import blocks_of

if TYPE_CHECKING:
    import torch
    from torch import nn


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
