"""Cutting a dataset into windows: the unit of computing, writing and resuming."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

_WINDOW_ROWS = 32_768
"""Enough records to sort by length; their activations are held in memory (0.5 GB at a width of 8,192)."""


@dataclass(frozen=True)
class Window:
    """Consecutive shards, and the records that reach into them."""

    shards: range
    first_row: int
    last_row: int
    """The row after the last."""
    inside: range
    """Indices of the records that lie wholly inside."""
    crossing: tuple[int, ...]
    """Indices of the records that cross a border of the window."""


def windows(
    offsets: "Int64[np.ndarray, 'records_plus_1']", shard_rows: int, missing: Iterable[int], *, pooled: bool
) -> Iterator[Window]:
    """Yield the windows that hold missing shards; their borders never depend on what is missing."""
    per_window = 1 if pooled else max(1, _WINDOW_ROWS // shard_rows)
    rows = int(offsets[-1])
    total = -(-rows // shard_rows)
    for number in sorted({shard // per_window for shard in missing}):
        shards = range(number * per_window, min(total, (number + 1) * per_window))
        first_row, last_row = shards.start * shard_rows, min(rows, shards.stop * shard_rows)
        start = int(np.searchsorted(offsets, first_row, side="right")) - 1
        stop = int(np.searchsorted(offsets, last_row, side="left"))
        inside_start = start if offsets[start] >= first_row else start + 1
        inside_stop = stop if offsets[stop] <= last_row else stop - 1
        inside = range(inside_start, max(inside_start, inside_stop))
        crossing = tuple(index for index in range(start, stop) if index not in inside)
        yield Window(shards, first_row, last_row, inside, crossing)
