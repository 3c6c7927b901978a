"""Training tokens in random batches of whole records, from memory or the store; and the space they are fitted in."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from models_under_pressure.probes.family import Linear, Segments
from models_under_pressure.probes.tokens import Selection, read_block, record_blocks

POOL_VALUES = 1 << 26
"""Activation values shuffled together: 256 MiB as float32."""

_MAD_TO_DEVIATION = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Tokens of some records, one record after the other."""

    values: Float32[np.ndarray, "tokens hidden"]
    segments: Segments
    records: Int64[np.ndarray, "records"]
    """Indices of the records."""


@dataclass(frozen=True, eq=False)
class _Pool:
    runs: tuple[tuple[int, int], ...]
    """Runs of consecutive records to read."""
    batches: tuple[Int64[np.ndarray, "records"], ...]
    """Records of each batch, in the order they are held in memory."""


class Pools:
    """Batches of a selection, the same in every epoch but in a new order.

    A run of records is read whole; a pool is a random set of runs, whose records are shuffled and cut into batches. The
    batches depend on the generator only, never on how much fits in memory. Without a generator, each run is a batch as
    it is read, uncopied.
    """

    def __init__(
        self, selection: Selection, batch_size: int, generator: np.random.Generator | None, *, cache_values: int
    ) -> None:
        self._selection = selection
        self._pools = _plan(selection, batch_size, generator)
        self._cached: dict[int, Float32[np.ndarray, "tokens hidden"]] = {}
        self._cache_left = cache_values

    def epoch(self, generator: np.random.Generator | None) -> Iterator[Batch]:
        """Yield every batch once, shuffled when a generator is given."""
        for number in _order(len(self._pools), generator):
            pool, values = self._pools[number], self._values(number)
            lengths = np.diff(self._selection.offsets)
            ends = np.cumsum([lengths[batch].sum() for batch in pool.batches])
            for index in _order(len(pool.batches), generator):
                records = pool.batches[index]
                own = values[ends[index] - lengths[records].sum() : ends[index]]
                offsets = np.concatenate([[0], np.cumsum(lengths[records])])
                yield Batch(own, Segments(offsets, self._sentence_ends(records)), records)
            del values  # or the next pool would be read while this one is still held

    def _sentence_ends(self, records: Int64[np.ndarray, "records"]) -> Bool[np.ndarray, "tokens"] | None:
        ends, offsets = self._selection.sentence_ends, self._selection.offsets
        if ends is None:
            return None
        return np.concatenate([ends[offsets[record] : offsets[record + 1]] for record in records])

    def _values(self, number: int) -> Float32[np.ndarray, "tokens hidden"]:
        if number in self._cached:
            return self._cached[number]
        values = _read(self._selection, self._pools[number])
        if values.size <= self._cache_left:
            self._cache_left -= values.size
            self._cached[number] = values
        return values


def _plan(selection: Selection, batch_size: int, generator: np.random.Generator | None) -> list[_Pool]:
    """Deal runs of records into pools, and a pool's records into batches of nearly equal size."""
    hidden = selection.activations.hidden
    runs = record_blocks(selection.activations.offsets, hidden)
    if generator is None:
        return [_Pool((run,), (np.arange(*run),)) for run in runs]
    pools: list[_Pool] = []
    held: list[tuple[int, int]] = []
    records = values = 0
    order = generator.permutation(len(runs))
    for position, number in enumerate(order):
        first, stop = runs[number]
        held.append((first, stop))
        records += stop - first
        values += int(selection.offsets[stop] - selection.offsets[first]) * hidden
        if (values >= POOL_VALUES and records >= batch_size) or position == len(order) - 1:
            members = generator.permutation(np.concatenate([np.arange(*run) for run in held]))
            batches = np.array_split(members, -(-len(members) // batch_size))
            pools.append(_Pool(tuple(held), tuple(batches)))
            held, records, values = [], 0, 0
    return pools


def _read(selection: Selection, pool: _Pool) -> Float32[np.ndarray, "tokens hidden"]:
    """Read the pool's runs, and put each record where its batch wants it."""
    records = np.concatenate(pool.batches)
    if len(pool.runs) == len(pool.batches) == 1 and np.array_equal(records, np.arange(*pool.runs[0])):
        return read_block(selection, *pool.runs[0]).values
    lengths = np.diff(selection.offsets)[records]
    starts = dict(zip(records.tolist(), (np.cumsum(lengths) - lengths).tolist(), strict=True))
    values = np.empty((int(lengths.sum()), selection.activations.hidden), dtype=np.float32)
    for run in pool.runs:
        block = read_block(selection, *run)
        for index, (begin, end) in enumerate(zip(block.offsets[:-1], block.offsets[1:], strict=True)):
            start = starts[block.first + index]
            values[start : start + end - begin] = block.values[begin:end]
    return values


def _order(count: int, generator: np.random.Generator | None) -> np.ndarray:
    return np.arange(count) if generator is None else generator.permutation(count)


@dataclass(frozen=True, eq=False)
class Space:
    """Features `(x - centre) / (scale * sqrt(hidden))`.

    The root keeps the change of a logit by one step of AdamW the same at any width; the attention probe's own
    `1 / sqrt(hidden)` is this one.
    """

    centre: Float[np.ndarray, "hidden"]
    scale: Float[np.ndarray, "hidden"]

    @property
    def _divisor(self) -> Float[np.ndarray, "hidden 1"]:
        return self.scale[:, None] * np.sqrt(len(self.scale))

    def to_activations(self, weights: Linear) -> Linear:
        """Weights for this space -> weights for activations as they are, with the same projections."""
        projection = weights.projection / self._divisor
        return Linear(projection, weights.bias - self.centre @ projection)

    def from_activations(self, weights: Linear) -> Linear:
        """The inverse of `to_activations`."""
        return Linear(weights.projection * self._divisor, weights.bias + self.centre @ weights.projection)

    def gradient(
        self, by_projection: Float[np.ndarray, "hidden columns"], by_bias: Float[np.ndarray, "columns"]
    ) -> Linear:
        """Gradient by weights for activations as they are -> gradient by weights for this space."""
        return Linear((by_projection - np.outer(self.centre, by_bias)) / self._divisor, by_bias)


def robust_space(sample: Float[np.ndarray, "tokens hidden"]) -> Space:
    """Centre and scale from medians.

    The first token of a record is a hundred times longer than the others in many models (Sun et al. 2024, "massive
    activations"), and would by itself set any mean and standard deviation.
    """
    centre = np.median(sample, axis=0).astype(np.float64)
    scale = np.median(np.abs(sample - centre), axis=0) * _MAD_TO_DEVIATION
    deviation = sample.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 0, scale, deviation)
    return Space(centre, np.where(scale > 0, scale, 1.0))
