"""What a probe family is: its hyper-parameters, how it pools tokens into a record's logit, and how it is fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.probes.segments import Segments

Role = Literal["system", "user", "assistant", "template"]
CalibrationMethod = Literal["none", "platt", "isotonic", "temperature"]


class FamilyConfig(BaseModel):
    """Hyper-parameters that every family has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Any
    """Name of the family; each one narrows it to its own."""
    seeds: int = Field(default=1, ge=1)
    """How many probes to fit, from consecutive seeds."""
    tokens: tuple[Role, ...] = Field(default=("system", "user", "assistant", "template"), min_length=1)
    """Roles of the tokens that the probe sees, in training and in scoring."""
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


C = TypeVar("C", bound=FamilyConfig)

Reduction: TypeAlias = Literal["mean", "last"]
"""How tokens become one vector per record: their mean, or the last of them."""


@dataclass(frozen=True)
class Exact(Generic[C]):
    """Fitting in closed form or by a convex solver, on one vector per record."""

    reduction: Reduction
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
    fitting: Exact[C] | Descent[C]
    by_sentence: bool = False
    """Whether the pooling needs to know where sentences end."""
