"""Pooling of flat tokens into records: sums, maxima and softmax within each record, and what families share."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int64

if TYPE_CHECKING:
    from torch import Tensor

    from models_under_pressure.probes.family import FamilyConfig


@dataclass(frozen=True, eq=False)
class Segments:
    """How flat tokens divide into records; every record has at least one token.

    Sums run over a record's tokens in their order, so that no record's result depends on its neighbours.
    """

    offsets: "Int64[Tensor, 'records_plus_1']"
    """Record `i` owns the tokens `offsets[i]` up to but not including `offsets[i + 1]`."""
    sentence_ends: "Bool[Tensor, 'tokens'] | None" = None
    """Whether a token closes a sentence; None when the pooling does not ask."""

    @staticmethod
    def of(
        offsets: Int64[np.ndarray, "records_plus_1"],
        sentence_ends: Bool[np.ndarray, "tokens"] | None = None,
        device: Any = "cpu",
    ) -> "Segments":
        """The same from arrays, on a device."""
        import torch

        ends = None if sentence_ends is None else torch.as_tensor(sentence_ends, device=device)
        return Segments(torch.as_tensor(offsets, dtype=torch.int64, device=device), ends)

    @cached_property
    def lengths(self) -> "Int64[Tensor, 'records']":
        """Tokens per record."""
        return self.offsets.diff()

    @cached_property
    def record(self) -> "Int64[Tensor, 'tokens']":
        """Record of each token."""
        import torch

        return torch.arange(len(self.lengths), device=self.offsets.device).repeat_interleave(self.lengths)

    @cached_property
    def places(self) -> "Int64[Tensor, 'tokens']":
        """Place of each token within its record, from 0."""
        import torch

        return torch.arange(len(self.record), device=self.offsets.device) - self.spread(self.offsets[:-1])

    @cached_property
    def sentences(self) -> "Segments":
        """The same tokens, divided into sentences; the end of a record ends one."""
        import torch

        if self.sentence_ends is None:
            raise ValueError("sentence ends are not known")
        ends: Any = torch.cat([self.offsets, self.sentence_ends.nonzero()[:, 0] + 1])
        return Segments(ends.unique())

    def spread(self, values: "Float[Tensor, 'records *columns']") -> "Float[Tensor, 'tokens *columns']":
        """Give every token its record's value."""
        return values.index_select(0, self.record)

    def sum(self, values: "Float[Tensor, 'tokens *columns']") -> "Float[Tensor, 'records *columns']":
        """Sum over each record's tokens."""
        return self._reduce("sum", values)

    def mean(self, values: "Float[Tensor, 'tokens']") -> "Float[Tensor, 'records']":
        """Mean over each record's tokens."""
        return self.sum(values) / self.lengths

    def max(self, values: "Float[Tensor, 'tokens *columns']") -> "Float[Tensor, 'records *columns']":
        """Maximum over each record's tokens; no gradient passes: `values[argmax(values)]` has one."""
        return self._reduce("max", values.detach())

    def argmax(self, values: "Float[Tensor, 'tokens']") -> "Int64[Tensor, 'records']":
        """Index, among all tokens, of the first maximum of each record."""
        import torch

        hits = (values == self.spread(self.max(values))).nonzero()[:, 0]
        return hits[torch.searchsorted(hits, self.offsets[:-1])]

    def softmax(self, values: "Float[Tensor, 'tokens *columns']") -> "Float[Tensor, 'tokens *columns']":
        """Exponentials, normalised to sum to 1 over each record's tokens."""
        powers = (values - self.spread(self.max(values))).exp()
        return powers / self.spread(self.sum(powers))

    def _reduce(self, how: str, values: Any) -> Any:
        import torch

        return torch.segment_reduce(values.contiguous(), how, lengths=self.lengths, unsafe=True)


@dataclass(frozen=True, eq=False)
class Pooled:
    """Tokens pooled into records."""

    logits: "Float[Tensor, 'records']"
    contributions: "Float[Tensor, 'tokens']"
    """What each token adds to its record's logit: they sum to it."""


def weighted_sum(values: "Float[Tensor, 'tokens']", segments: Segments, shares: "Float[Tensor, 'tokens']") -> Pooled:
    """Weighted sum over each record's tokens."""
    contributions = shares * values
    return Pooled(segments.sum(contributions), contributions)


def mean_of_chosen(values: "Float[Tensor, 'tokens']", segments: Segments, chosen: "Bool[Tensor, 'tokens']") -> Pooled:
    """Mean over some of each record's tokens."""
    shares = chosen.to(values.dtype)
    return weighted_sum(values, segments, shares / segments.spread(segments.sum(shares)))


def pool_mean(projections: "Float[Tensor, 'tokens 1']", segments: Segments, config: "FamilyConfig") -> Pooled:
    """Mean over tokens."""
    return weighted_sum(projections[:, 0], segments, segments.spread(1.0 / segments.lengths.to(projections.dtype)))


def pool_last(projections: "Float[Tensor, 'tokens 1']", segments: Segments, config: "FamilyConfig") -> Pooled:
    """The last token."""
    return mean_of_chosen(projections[:, 0], segments, segments.places == segments.spread(segments.lengths) - 1)


class Stream(Protocol):
    """A record's pooling while its tokens arrive; a token costs the same whenever it comes."""

    def update(self, projection: Float[np.ndarray, "columns"], closes_sentence: bool) -> float:
        """Take one more token, and give the logit of the record as far as it goes."""
        ...


class MeanStream:
    """Running mean."""

    def __init__(self, config: "FamilyConfig") -> None:
        """Start without tokens."""
        self._total, self._count = 0.0, 0

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        self._total += float(projection[0])
        self._count += 1
        return self._total / self._count


class LastStream:
    """The latest token."""

    def __init__(self, config: "FamilyConfig") -> None:
        """Start without tokens."""

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        return float(projection[0])
