"""What a probe family is: its hyper-parameters, how it pools tokens into a record's logit, and how it is fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Int64
from pydantic import Field

from models_under_pressure.core.files import Frozen


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


Role = Literal["system", "user", "assistant", "template", "tool", "thinking"]
CalibrationMethod = Literal["none", "platt", "isotonic", "temperature"]


class FamilyConfig(Frozen):
    """Hyper-parameters that every family has."""

    family: Any
    """Name of the family; each one narrows it to its own."""
    seeds: int = Field(default=1, ge=1)
    """How many probes to fit, from consecutive seeds."""
    tokens: tuple[Role, ...] = Field(default=("system", "user", "assistant", "template"), min_length=1)
    """Roles of the tokens that the probe sees, in training and in scoring.

    system, user and assistant together are all that is said: `tool` and `thinking` too, if neither of them is named.
    """
    first_token: bool = True
    """Whether it sees the first token of a record too, where that is the chat template's (a BOS token, say).

    That token reads nothing but itself, so it is the same in every record; and many models make it a hundred times
    longer than any other (Sun et al. 2024, "massive activations"), so that in a mean it says how long the record is.
    """
    calibration: CalibrationMethod = "none"
    """How probabilities are calibrated on the validation split; `none` is the sigmoid of the logit."""
    budgets: tuple[float, ...] = (0.01, 0.05, 0.1)
    """False positive rates whose thresholds are stored with the probe."""


@dataclass(frozen=True, eq=False)
class Pooled:
    """Tokens pooled into records."""

    logits: Float[np.ndarray, "records"]
    contributions: Float[np.ndarray, "tokens"]
    """What each token adds to its record's logit: they sum to it."""
    gradient: Float[np.ndarray, "tokens columns"]
    """Derivative of the record's logit by each of the token's projections."""


@dataclass(frozen=True, eq=False)
class Linear:
    """Projection of a token: `x @ projection + bias`."""

    projection: Float[np.ndarray, "hidden columns"]
    bias: Float[np.ndarray, "columns"]


@dataclass(frozen=True, eq=False)
class RecordVectors:
    """One vector per record, with what a solver needs to know of the record."""

    values: Float[np.ndarray, "records hidden"]
    labels: Bool[np.ndarray, "records"]
    groups: list[str]


class Stream(Protocol):
    """A record's pooling while its tokens arrive; a token costs the same whenever it comes."""

    def update(self, projection: Float[np.ndarray, "columns"], closes_sentence: bool) -> float:
        """Take one more token, and give the logit of the record as far as it goes."""
        ...


C = TypeVar("C", bound=FamilyConfig)


@dataclass(frozen=True)
class Exact(Generic[C]):
    """Fitting in closed form or by a convex solver, on one vector per record."""

    reduction: Literal["mean", "last"]
    """How tokens become one vector per record: their mean, or the last of them."""
    solve: Callable[[RecordVectors, C, int], Linear]
    """(vectors, config, seed) -> a projection with one column."""


@dataclass(frozen=True)
class Descent(Generic[C]):
    """Fitting by gradient descent on tokens."""

    start: Callable[[Linear, C, np.random.Generator], Linear]
    """(logistic regression on mean tokens, config, generator) -> where to start; all in the space of the training."""


@dataclass(frozen=True)
class Family(Generic[C]):
    """A kind of probe."""

    config: type[C]
    pool: Callable[[Float[np.ndarray, "tokens columns"], Segments, C], Pooled]
    stream: Callable[[C], Stream]
    """Starts the pooling of a record whose tokens come one by one: after each, the logit that `pool` would give."""
    fitting: Exact[C] | Descent[C]
    by_sentence: bool = False
    """Whether the pooling needs to know where sentences end."""
    columns: Callable[[C], int] = lambda _: 1
    """Numbers that a token is projected to."""


def pool_mean(projections: Float[np.ndarray, "tokens 1"], segments: Segments, config: FamilyConfig) -> Pooled:
    """Mean over tokens."""
    return weighted_sum(projections, segments, segments.spread(1.0 / segments.lengths))


class MeanStream:
    """Running mean."""

    def __init__(self, config: FamilyConfig) -> None:
        """Start without tokens."""
        self._total, self._count = 0.0, 0

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        self._total += float(projection[0])
        self._count += 1
        return self._total / self._count


def pool_last(projections: Float[np.ndarray, "tokens 1"], segments: Segments, config: FamilyConfig) -> Pooled:
    """The last token."""
    shares = np.zeros(len(projections))
    shares[segments.offsets[1:] - 1] = 1.0
    return weighted_sum(projections, segments, shares)


class LastStream:
    """The latest token."""

    def __init__(self, config: FamilyConfig) -> None:
        """Start without tokens."""

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        return float(projection[0])


def mean_of_chosen(
    projections: Float[np.ndarray, "tokens 1"], segments: Segments, chosen: Bool[np.ndarray, "tokens"]
) -> Pooled:
    """Mean over some of each record's tokens."""
    shares = chosen / segments.spread(segments.sum(chosen.astype(np.float64)))
    return weighted_sum(projections, segments, shares)


def weighted_sum(
    projections: Float[np.ndarray, "tokens 1"], segments: Segments, shares: Float[np.ndarray, "tokens"]
) -> Pooled:
    """Weighted sum over tokens, for shares that do not change with small changes of the logits."""
    contributions = shares * projections[:, 0]
    return Pooled(segments.sum(contributions), contributions, shares[:, None])
