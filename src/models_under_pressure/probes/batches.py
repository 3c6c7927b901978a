"""Training tokens in random batches of whole records, from memory or the store; and the space they are fitted in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.probes.family import Weights
from models_under_pressure.probes.pooling import Segments
from models_under_pressure.probes.tokens import Selection, read_block, record_blocks

POOL_VALUES = 1 << 26
"""Activation values shuffled together: 256 MiB as float32."""

_MAD_TO_DEVIATION = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Tokens of some records, one record after the other."""

    values: Float[Tensor, "tokens hidden"]
    """In float32, on the device."""
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
    it is read. Pools stay in memory, on the device, as far as `cache_bytes` reaches: as float32 on a CPU that holds all
    of them so, else as the store has them, which is half as long.
    """

    def __init__(
        self,
        selection: Selection,
        batch_size: int,
        generator: np.random.Generator | None,
        *,
        cache_bytes: int,
        device: torch.device | None = None,
    ) -> None:
        self._selection, self._device = selection, device or torch.device("cpu")
        self._pools = _plan(selection, batch_size, generator)
        self._cached: dict[int, Tensor] = {}
        self._cache_left = cache_bytes
        fits = 4 * int(selection.offsets[-1]) * selection.activations.hidden <= cache_bytes
        self._widens = fits and self._device.type == "cpu"

    def epoch(self, generator: np.random.Generator | None) -> Iterator[Batch]:
        """Yield every batch once, shuffled when a generator is given."""
        for number in _order(len(self._pools), generator):
            pool, values = self._pools[number], self._values(number)
            lengths = np.diff(self._selection.offsets)
            ends = np.cumsum([lengths[batch].sum() for batch in pool.batches])
            for index in _order(len(pool.batches), generator):
                records = pool.batches[index]
                own = values[int(ends[index] - lengths[records].sum()) : int(ends[index])]
                offsets = np.concatenate([[0], np.cumsum(lengths[records])])
                segments = Segments.of(offsets, self._sentence_ends(records), self._device)
                yield Batch(own.float(), segments, records)
            del values  # or the next pool would be read while this one is still held

    def _sentence_ends(self, records: Int64[np.ndarray, "records"]) -> Bool[np.ndarray, "tokens"] | None:
        ends, offsets = self._selection.sentence_ends, self._selection.offsets
        if ends is None:
            return None
        return np.concatenate([ends[offsets[record] : offsets[record + 1]] for record in records])

    def _values(self, number: int) -> Float[Tensor, "tokens hidden"]:
        if number in self._cached:
            return self._cached[number]
        values = self._read(self._pools[number])
        if values.nbytes <= self._cache_left:
            self._cache_left -= values.nbytes
            self._cached[number] = values
        return values

    def _read(self, pool: _Pool) -> Float[Tensor, "tokens hidden"]:
        """Read the pool's runs, and put each record where its batch wants it."""
        records = np.concatenate(pool.batches)
        if len(pool.runs) == len(pool.batches) == 1 and np.array_equal(records, np.arange(*pool.runs[0])):
            return self._read_run(*pool.runs[0])
        lengths = np.diff(self._selection.offsets)[records]
        ends = np.cumsum(lengths)
        starts = dict(zip(records.tolist(), (ends - lengths).tolist(), strict=True))
        values: Tensor | None = None
        for first, stop in pool.runs:
            block: Any = self._read_run(first, stop)
            if values is None:
                values = block.new_empty((int(ends[-1]), block.shape[1]))
            own = np.diff(self._selection.offsets[first : stop + 1]).tolist()
            for record, tokens in zip(range(first, stop), block.split(own), strict=True):
                values[starts[record] : starts[record] + len(tokens)] = tokens
        assert values is not None
        return values

    def _read_run(self, first: int, stop: int) -> Float[Tensor, "tokens hidden"]:
        selection = self._selection
        start, end = (int(selection.activations.offsets[record]) for record in (first, stop))
        values = tokens_of(selection.activations, start, end, self._device, chosen=selection.chosen[start:end])
        # A sum is NaN or infinite if any value is (or if finite ones overflow: then reading again finds none).
        if not values.sum(dim=0, dtype=torch.float32).isfinite().all():
            read_block(selection, first, stop)
        return values.float() if self._widens else values


def tokens_of(
    activations: Activations,
    start: int,
    stop: int,
    device: torch.device,
    *,
    chosen: Bool[np.ndarray, "tokens"] | None = None,
) -> Float[Tensor, "tokens hidden"]:
    """Tokens on a device, as the activations have them: the bits of bfloat16 are widened by no one on the way."""
    values: Any = getattr(activations, "read_bits", activations.read)(start, stop)
    if chosen is not None and not chosen.all():
        values = values[chosen]
    if not values.flags.writeable:  # torch knows no read-only memory
        values = values.copy()
    if values.dtype == np.uint16:
        return torch.as_tensor(values.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.as_tensor(values).to(device)


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
        first, stop = runs[int(number)]
        held.append((first, stop))
        records += stop - first
        values += int(selection.offsets[stop] - selection.offsets[first]) * hidden
        if (values >= POOL_VALUES and records >= batch_size) or position == len(order) - 1:
            members = generator.permutation(np.concatenate([np.arange(*run) for run in held]))
            batches = np.array_split(members, -(-len(members) // batch_size))
            pools.append(_Pool(tuple(held), tuple(batches)))
            held, records, values = [], 0, 0
    return pools


def _order(count: int, generator: np.random.Generator | None) -> list[int]:
    return list(range(count)) if generator is None else generator.permutation(count).tolist()


@dataclass(frozen=True, eq=False)
class Space:
    """Features `(x - centre) / divisor`, with the divisor `scale * sqrt(hidden)`.

    The root keeps the change of a logit by one step of AdamW the same at any width; the attention probe's own
    `1 / sqrt(hidden)` is this one.
    """

    centre: Float[np.ndarray, "hidden"]
    scale: Float[np.ndarray, "hidden"]

    @property
    def divisor(self) -> Float[np.ndarray, "hidden 1"]:
        """What each centred feature is divided by."""
        return self.scale[:, None] * np.sqrt(len(self.scale))

    def from_activations(self, weights: Weights) -> Weights:
        """Weights for activations as they are -> weights for these features; `ProbeModule.weights` is the way back."""
        bias = weights.bias + self.centre @ weights.projection
        return Weights(weights.projection * self.divisor, bias, weights.more)


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
