"""Reductions over the tokens of each record, on flat arrays: no padding, so no record can touch another's result."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int64


@dataclass(frozen=True, eq=False)
class Segments:
    """How flat tokens divide into records; every record has at least one token."""

    offsets: Int64[np.ndarray, "records_plus_1"]
    """Record `i` owns the tokens `offsets[i]` up to but not including `offsets[i + 1]`."""
    sentence_ends: Bool[np.ndarray, "tokens"] | None = None
    """Whether a token closes a sentence; None when the pooling does not ask."""

    @property
    def lengths(self) -> Int[np.ndarray, "records"]:
        """Tokens per record."""
        return np.diff(self.offsets)

    @property
    def sentences(self) -> "Segments":
        """The same tokens, divided into sentences; the end of a record ends one."""
        if self.sentence_ends is None:
            raise ValueError("sentence ends are not known")
        ends = np.flatnonzero(self.sentence_ends) + 1
        return Segments(np.union1d(self.offsets, ends))

    def spread(self, values: Float[np.ndarray, "records *columns"]) -> Float[np.ndarray, "tokens *columns"]:
        """Give every token its record's value."""
        return np.repeat(values, self.lengths, axis=0)

    def sum(self, values: Float[np.ndarray, "tokens *columns"]) -> Float[np.ndarray, "records *columns"]:
        """Sum over each record's tokens."""
        return np.add.reduceat(values, self.offsets[:-1], axis=0)

    def max(self, values: Float[np.ndarray, "tokens *columns"]) -> Float[np.ndarray, "records *columns"]:
        """Maximum over each record's tokens."""
        return np.maximum.reduceat(values, self.offsets[:-1], axis=0)

    def argmax(self, values: Float[np.ndarray, "tokens"]) -> Int[np.ndarray, "records"]:
        """Index, among all tokens, of the first maximum of each record."""
        hits = np.flatnonzero(values == self.spread(self.max(values)))
        return hits[np.searchsorted(hits, self.offsets[:-1])]

    def softmax(self, values: Float[np.ndarray, "tokens *columns"]) -> Float[np.ndarray, "tokens *columns"]:
        """Exponentials, normalised to sum to 1 over each record's tokens."""
        powers = np.exp(values - self.spread(self.max(values)))
        return powers / self.spread(self.sum(powers))
