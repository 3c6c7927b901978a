"""Which records go through the model together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64


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
