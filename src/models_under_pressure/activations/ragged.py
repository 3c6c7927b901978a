"""Ragged activations: a flat `[tokens, hidden]` array cut into records by offsets, in memory or on disk."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, Int64

SYSTEM, USER, ASSISTANT, TEMPLATE = range(4)
"""Role codes of tokens; TEMPLATE marks what the chat template adds around the content."""


class Activations(Protocol):
    """What probes read: a store on disk or an array in memory."""

    @property
    def ids(self) -> Sequence[str]:
        """Record ids, in the order of the offsets."""
        ...

    @property
    def offsets(self) -> Int64[np.ndarray, "records_plus_1"]:
        """Record `i` owns the tokens `offsets[i]` up to but not including `offsets[i + 1]`."""
        ...

    @property
    def roles(self) -> Int8[np.ndarray, "tokens"]:
        """Role code of each token."""
        ...

    @property
    def hidden(self) -> int:
        """Width of an activation."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Provenance: model, revision, layer, hook point, template hash, dataset hash and more."""
        ...

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the tokens from `start` up to but not including `stop`."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayActivations:
    """Activations held in memory."""

    values: Float32[np.ndarray, "tokens hidden"]
    offsets: Int64[np.ndarray, "records_plus_1"]
    ids: Sequence[str]
    roles: Int8[np.ndarray, "tokens"]
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    token_ids: Int32[np.ndarray, "tokens"] | None = None

    @property
    def hidden(self) -> int:
        """Width of an activation."""
        return int(self.values.shape[1])

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the tokens from `start` up to but not including `stop`."""
        return self.values[start:stop]


class Subset:
    """`Activations` of chosen records, in their order, read from the whole when asked for."""

    def __init__(self, whole: Activations, chosen: Bool[np.ndarray, "records"]) -> None:
        if chosen.shape != (len(whole.ids),) or chosen.dtype != np.bool_:
            raise ValueError(f"{len(whole.ids)} records, a choice of {chosen.shape} {chosen.dtype}: not aligned")
        self._whole = whole
        rows = np.flatnonzero(chosen)
        bounds = np.asarray(whole.offsets, dtype=np.int64)
        tokens = np.repeat(chosen, np.diff(bounds))
        self._starts = bounds[:-1][rows]
        """Where each chosen record begins in the whole."""
        self.ids: Sequence[str] = [whole.ids[int(row)] for row in rows]
        self.offsets: Int64[np.ndarray, records_plus_1] = np.concatenate([[0], np.cumsum(np.diff(bounds)[rows])])
        self.roles: Int8[np.ndarray, tokens] = np.asarray(whole.roles)[tokens]
        ids = getattr(whole, "token_ids", None)
        self.token_ids: Int32[np.ndarray, tokens] | None = None if ids is None else np.asarray(ids)[tokens]

    @property
    def hidden(self) -> int:
        """Width of an activation."""
        return self._whole.hidden

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Those of the whole: how activations were made, not which."""
        return self._whole.attributes

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the tokens from `start` up to but not including `stop`."""
        parts = [self._whole.read(begin, end) for begin, end in self._pieces(start, stop)]
        return np.concatenate(parts) if parts else np.empty((0, self.hidden), dtype=np.float32)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Where the tokens lie in the whole, neighbours together."""
        begin = end = 0
        first = int(np.searchsorted(self.offsets, start, side="right")) - 1
        last = int(np.searchsorted(self.offsets, stop, side="left"))
        for record in range(first, last):
            shift = int(self._starts[record] - self.offsets[record])
            own = max(start, int(self.offsets[record])) + shift, min(stop, int(self.offsets[record + 1])) + shift
            if own[0] != end:
                if end > begin:
                    yield begin, end
                begin = own[0]
            end = own[1]
        if end > begin:
            yield begin, end
