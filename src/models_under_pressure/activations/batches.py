"""Which records go through the model together."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """Records of one forward pass: rows of a padded batch, or the parts of one packed row."""

    records: tuple[int, ...]
    """Indices of the records."""


def plan_batches(lengths: "Int64[np.ndarray, 'records']", *, budget: int, packing: bool) -> list[Batch]:
    """Group records under a budget of tokens, padding included; a longer record is a batch of its own.

    Args:
        lengths: tokens of each record.
        budget: tokens of one forward pass.
        packing: whether records share a row without padding.
    """
    order = np.argsort(-lengths, kind="stable").tolist()
    groups = _bins(order, lengths, budget) if packing else _rows(order, lengths, budget)
    return [Batch(tuple(group)) for group in groups]


def _rows(order: Sequence[int], lengths: np.ndarray, budget: int) -> list[list[int]]:
    """Neighbours in length, padded to the longest."""
    groups: list[list[int]] = []
    for record in order:
        if groups and (len(groups[-1]) + 1) * padded_length(int(lengths[groups[-1][0]])) <= budget:
            groups[-1].append(record)
        else:
            groups.append([record])
    return groups


def _bins(order: Sequence[int], lengths: np.ndarray, budget: int) -> list[list[int]]:
    """First fit, longest first: at most 22 % more bins than the best packing (Johnson 1973)."""
    groups: list[list[int]] = []
    free: list[int] = []
    first_open = 0
    for record in order:
        length = int(lengths[record])
        while first_open < len(free) and free[first_open] < int(lengths[order[-1]]):
            first_open += 1  # too full for even the shortest
        fit = next((index for index in range(first_open, len(free)) if free[index] >= length), None)
        if fit is None:
            groups.append([record])
            free.append(budget - length)
        else:
            groups[fit].append(record)
            free[fit] -= length
    return groups


_TILE = 64
"""Attention kernels work in tiles of up to 64 queries; rows padded to whole tiles get the same numbers from any
longest neighbour."""


def padded_length(length: int) -> int:
    """Length of a padded row: whole tiles."""
    return -(-length // _TILE) * _TILE


_NAME = "mup_packed"


class Packing(threading.local):
    """The lengths of the records in a thread's present row."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def attend(
        self,
        module: Any,
        query: "torch.Tensor",
        key: "torch.Tensor",
        value: "torch.Tensor",
        attention_mask: "torch.Tensor | None",
        **settings: Any,
    ) -> "tuple[torch.Tensor, None]":
        """Hugging Face's own attention, once per record: exact by construction, and no mask of tokens x tokens.

        Args:
            module: the attention module.
            query: [1, heads, tokens, head size]; key and value alike.
            key: see query.
            value: see query.
            attention_mask: None, because transformers builds none for an attention that it does not know.
            **settings: scaling, sliding window and the like, as the module gives them.
        """
        import torch
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        outputs = []
        start = 0
        for length in self.lengths:
            part = slice(start, start + length)
            mask = causal_mask(length, settings.get("sliding_window"), query.device)
            output, _ = sdpa_attention_forward(
                module, query[:, :, part], key[:, :, part], value[:, :, part], mask, **settings
            )
            outputs.append(output)
            start += length
        return torch.cat(outputs, dim=1), None


@contextmanager
def packed(decoder: Any) -> Iterator[Packing]:
    """Let the decoder attend within records of a packed row."""
    packing = Packing()
    with attending(decoder, packing.attend, name=_NAME):
        yield packing


@contextmanager
def attending(decoder: Any, attend: Callable[..., Any], *, name: str) -> Iterator[None]:
    """Replace the decoder's attention for a while.

    Args:
        decoder: the model; see `can_pack`.
        attend: what takes the attention's place, with the arguments of `Packing.attend`.
        name: that transformers knows it by.
    """
    import torch
    from transformers import AttentionInterface

    config = decoder.config.get_text_config()
    before = config._attn_implementation
    # lengths change from row to row, which a compiler would take for another program each time
    AttentionInterface.register(name, torch.compiler.disable(attend))
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def can_pack(decoder: Any) -> bool:
    """Whether the decoder's attention can be replaced without changing what it computes.

    It must go through transformers' attention interface as plain scaled dot products, and have no state between
    tokens other than attention (state-space models), nor chunks that depend on a token's place in the row (Llama 4).
    """
    config = decoder.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        bool(getattr(decoder, "_supports_attention_backend", False))
        and config._attn_implementation == "sdpa"
        and kinds <= {"full_attention", "sliding_attention"}
        and not rotates_by_length(decoder)
        and _accepts_positions(decoder)
    )


def rotates_by_length(decoder: Any) -> bool:
    """Whether the rotary embedding depends on the longest record of a batch (Phi-3 with its 128k context)."""
    config = decoder.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    settings = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    return any(setting.get("rope_type") in ("dynamic", "longrope") for setting in settings)


def _accepts_positions(decoder: Any) -> bool:
    import inspect

    return "position_ids" in inspect.signature(type(decoder).forward).parameters


def causal_mask(length: int, window: int | None, device: "torch.device", *, first: int = 0) -> "torch.Tensor | None":
    """Which keys each query sees, [1, 1, length, first + length]; None where plain causal attention is the same.

    Args:
        length: queries.
        window: tokens that a query of a sliding window sees, itself included; None sees all before it.
        device: where the mask lies.
        first: place of the first query in its own text; the keys before it belong to the same text.
    """
    import torch

    if window is not None and first + length <= window:
        window = None
    if window is None and (first == 0 or length == 1):
        return None
    distance = torch.arange(first, first + length, device=device)[:, None] - torch.arange(first + length, device=device)
    seen = distance >= 0
    return (seen if window is None else seen & (distance < window))[None, None]


_SMALLEST_PACK = 16
"""Matrix products of fewer rows than this use other kernels, whose last bits differ."""


def padded_inputs(batch: Sequence[np.ndarray], device: Any) -> "dict[str, torch.Tensor]":
    """Right padding needs no attention mask: a causal model's tokens see nothing to their right."""
    import torch

    rows = np.zeros((len(batch), padded_length(max(map(len, batch)))), dtype=np.int64)
    for row, tokens in zip(rows, batch, strict=True):
        row[: len(tokens)] = tokens
    return {"input_ids": torch.from_numpy(rows).to(device)}


def packed_inputs(batch: Sequence[np.ndarray], packing: Packing, device: Any) -> "dict[str, torch.Tensor]":
    """One row that holds the records one after the other, and tells `packing` where each ends."""
    import torch

    filler = max(0, _SMALLEST_PACK - sum(map(len, batch)))
    parts = [*batch, np.zeros(filler, dtype=np.int32)] if filler else list(batch)
    packing.lengths = [len(part) for part in parts]
    tokens = torch.from_numpy(np.concatenate(parts).astype(np.int64))
    positions = torch.cat([torch.arange(len(part)) for part in parts])
    return {"input_ids": tokens[None].to(device), "position_ids": positions[None].to(device)}
