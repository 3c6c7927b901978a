"""Ragged activations: a flat `[tokens, hidden]` array cut into records by offsets, in memory or on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Int, Int8, Int32, Int64

SYSTEM, USER, ASSISTANT, TEMPLATE, TOOL, THINKING = range(6)
"""Role codes of tokens: TEMPLATE marks what the chat template adds around the content, TOOL what a tool replies,
THINKING what the assistant thinks."""


class Activations(Protocol):
    """Activations as probes read them: a store on disk or an array in memory."""

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


class View:
    """Chosen records of some activations, in the order given and read in place; one may be chosen twice."""

    ids: Sequence[str]
    """Record ids, in the order of the offsets."""
    offsets: Int64[np.ndarray, "records_plus_1"]
    """Record `i` owns the tokens `offsets[i]` up to but not including `offsets[i + 1]`."""

    roles: Int8[np.ndarray, "tokens"]
    """Role code of each token."""

    def __init__(self, parts: Sequence[tuple[Activations, Int[np.ndarray, "rows"]]]) -> None:
        """Choose, from each of the activations, the records with the given indices."""
        self._sources = [source for source, _ in parts]
        self._source_of = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
        bounds = [np.asarray(source.offsets, dtype=np.int64) for source, _ in parts]
        self._starts = np.concatenate([own[:-1][rows] for own, (_, rows) in zip(bounds, parts, strict=True)])
        lengths = [np.diff(own)[rows] for own, (_, rows) in zip(bounds, parts, strict=True)]
        self.offsets = np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64)
        self.ids = [source.ids[int(row)] for source, rows in parts for row in rows]
        self.roles = self._gather([source.roles for source in self._sources])

    @property
    def hidden(self) -> int:
        """Width of an activation."""
        return self._sources[0].hidden

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Provenance of the first part: how activations were made, not which."""
        return self._sources[0].attributes

    @property
    def token_ids(self) -> Int32[np.ndarray, "tokens"] | None:
        """Token ids; None where a part has none."""
        found = [getattr(source, "token_ids", None) for source in self._sources]
        return None if any(ids is None for ids in found) else self._gather(found)

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the tokens from `start` up to but not including `stop`."""
        pieces = [self._sources[number].read(first, last) for number, first, last in self._pieces(start, stop)]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([np.empty((0, self.hidden), dtype=np.float32), *pieces])

    def read_bits(self, start: int, stop: int) -> np.ndarray:
        """The same as the parts have them: bfloat16 bits as uint16, where all of them read so; else float32."""
        if not all(hasattr(source, "read_bits") for source in self._sources):
            return self.read(start, stop)
        parts: list[Any] = self._sources
        pieces: list[np.ndarray] = [parts[number].read_bits(*span) for number, *span in self._pieces(start, stop)]
        if not pieces or len({piece.dtype for piece in pieces}) > 1:
            return self.read(start, stop)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _gather(self, columns: Sequence[Any]) -> Any:
        arrays = [np.asarray(column) for column in columns]
        pieces = self._pieces(0, int(self.offsets[-1]))
        return np.concatenate([arrays[0][:0], *(arrays[number][first:last] for number, first, last in pieces)])

    def _pieces(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """(source, first token, last token) of the runs that make up a span; neighbours in a source are one run."""
        runs: list[tuple[int, int, int]] = []
        record = int(np.searchsorted(self.offsets, start, side="right")) - 1
        while start < stop:
            end = min(stop, int(self.offsets[record + 1]))
            shift = int(self._starts[record] - self.offsets[record])
            source, first, last = int(self._source_of[record]), start + shift, end + shift
            if runs and runs[-1][0] == source and runs[-1][2] == first:
                first = runs.pop()[1]
            if first < last:
                runs.append((source, first, last))
            start, record = end, record + 1
        return runs
