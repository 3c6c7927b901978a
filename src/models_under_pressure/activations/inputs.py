"""Token ids of a few records as the inputs of one forward pass: rows of a padded batch, or one packed row."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models_under_pressure.activations.batches import padded_length
from models_under_pressure.activations.packing import Packing

if TYPE_CHECKING:
    import torch

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
