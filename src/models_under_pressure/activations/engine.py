"""Cutting a dataset into windows: the unit of computing, writing and resuming."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from models_under_pressure.activations.config import ExtractConfig, LoadedModel
from models_under_pressure.activations.forward import Forward, Kept, prepared
from models_under_pressure.activations.tokens import TokenisedRecord
from models_under_pressure.activations.writer import StoreWriter
from models_under_pressure.core.display import Progress

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


class WindowComputer:
    """Computes windows one after the other, and keeps what a record that crosses a border needs on both sides.

    Such a record goes through the model alone, so that it gets the same numbers from whichever window asks: a window
    computed by another process, or after an interruption, has the same bytes.
    """

    def __init__(
        self, forward: Forward, tokenised: Mapping[int, TokenisedRecord], offsets: Int64[np.ndarray, "records_plus_1"]
    ) -> None:
        self._forward, self._tokenised, self._offsets = forward, tokenised, offsets
        self._crossing: dict[int, dict[int, Kept]] = {}

    def compute(self, window: Window) -> dict[int, Kept]:
        """The rows of a window, by layer."""
        result: dict[int, Kept] = {}
        crossing = {index: self._alone(index) for index in window.crossing}
        for index, values in crossing.items():
            self._place(result, window, index, values)
        inside = {index: self._tokenised[index] for index in window.inside}
        for index, values in self._forward.run(inside):
            self._place(result, window, index, values)
        self._crossing = {
            index: values for index, values in crossing.items() if self._offsets[index + 1] > window.last_row
        }
        return result

    def _alone(self, index: int) -> dict[int, Kept]:
        if index in self._crossing:
            return self._crossing[index]
        ((_, values),) = self._forward.run({index: self._tokenised[index]})
        return values

    def _place(self, result: dict[int, Kept], window: Window, index: int, values: dict[int, Kept]) -> None:
        first, last = int(self._offsets[index]), int(self._offsets[index + 1])
        start, stop = max(first, window.first_row), min(last, window.last_row)
        for layer, rows in values.items():
            if layer not in result:
                result[layer] = np.empty((window.last_row - window.first_row, rows.shape[1]), dtype=rows.dtype)
            result[layer][start - window.first_row : stop - window.first_row] = rows[start - first : stop - first]


def run_local(
    todo: Sequence[Window],
    tokenised: Sequence[TokenisedRecord],
    *,
    model: LoadedModel,
    config: ExtractConfig,
    writers: Mapping[int, StoreWriter],
    shown: Progress,
) -> None:
    """Compute windows one after the other and write their missing shards.

    Raises:
        UserError: a value is not finite, memory does not hold one record, or the disk is full.
    """
    offsets = next(iter(writers.values())).layout.offsets
    with prepared(model, list(writers), config) as forward, ThreadPoolExecutor(max_workers=1) as disk:
        computer = WindowComputer(forward, dict(enumerate(tokenised)), offsets)
        writing: Future[None] | None = None
        for window in todo:
            values = computer.compute(window)
            if writing:
                writing.result()  # two windows in memory at most
            writing = disk.submit(_write, writers, window, values, shown)
        if writing:
            writing.result()


def _write(writers: Mapping[int, StoreWriter], window: Window, values: Mapping[int, Kept], shown: Progress) -> None:
    for layer, writer in writers.items():
        for shard in filter(writer.needs, window.shards):
            first, last = writer.layout.span(shard)
            writer.write(shard, values[layer][first - window.first_row : last - window.first_row])
    shown.advance(window.last_row - window.first_row)
