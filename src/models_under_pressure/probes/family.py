"""What a probe family is: its hyper-parameters, how it pools tokens into a record's logit, and how it is fitted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from models_under_pressure.core.files import Frozen
from models_under_pressure.probes.pooling import Pooled, Segments, Stream

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["system", "user", "assistant", "template", "tool", "thinking"]
CalibrationMethod = Literal["none", "platt", "isotonic", "temperature"]


class FamilyConfig(Frozen):
    """Hyper-parameters that every family has."""

    family: Any
    """Name of the family; each one narrows it to its own."""
    seeds: int = Field(default=1, ge=1)
    """How many probes to fit, from consecutive seeds."""
    ensemble: bool = False
    """Whether the seeds are scored as one method, by the mean of their logits, instead of each on its own."""
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


class DescentConfig(FamilyConfig):
    """Hyper-parameters of gradient descent (McKenzie et al. 2025, table 3)."""

    batch_size: int = Field(default=64, ge=1)
    """Records per optimiser step: the paper's 16 times 4 accumulated."""
    epochs: int = Field(default=200, ge=1)
    """Most passes over the training data; the learning rate falls along a cosine over this many."""
    patience: int = Field(default=50, ge=1)
    """Stop after this many epochs without a better validation AUROC."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """Step of each weight in the space where features have unit size divided by the root of their number."""
    final_learning_rate: float = Field(default=1e-4, ge=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Longer gradients of a step are shortened to this."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The numbers of a fitted family: projection of a token, `x @ projection + bias`, and what the family adds."""

    projection: Float[np.ndarray, "hidden columns"]
    bias: Float[np.ndarray, "columns"]
    more: Mapping[str, Float[np.ndarray, "..."]] = field(default_factory=dict[str, np.ndarray])
    """Parameters of `Family.transform`."""

    @property
    def named(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Name -> array, of all."""
        return {"projection": self.projection, "bias": self.bias, **self.more}


@dataclass(frozen=True, eq=False)
class RecordVectors:
    """One vector per record, with what a solver needs to know of the record."""

    values: Float[np.ndarray, "records hidden"]
    labels: Bool[np.ndarray, "records"]
    groups: list[str]
    weights: Float[np.ndarray, "records"] | None = None
    """How much each record counts; None: all alike."""

    def only(self, rows: np.ndarray) -> "RecordVectors":
        """Some records, by their indices or a mask."""
        groups = [self.groups[int(row)] for row in np.arange(len(self.groups))[rows]]
        return RecordVectors(
            self.values[rows], self.labels[rows], groups, None if self.weights is None else self.weights[rows]
        )


C = TypeVar("C", bound=FamilyConfig)


@dataclass(frozen=True)
class Exact(Generic[C]):
    """Fitting in closed form or by a convex solver, on one vector per record."""

    reduction: Literal["mean", "last"]
    """How tokens become one vector per record: their mean, or the last of them."""
    solve: Callable[[RecordVectors, C, int], Weights]
    """(vectors, config, seed) -> a projection with one column."""


@dataclass(frozen=True)
class Descent(Generic[C]):
    """Fitting by gradient descent on tokens."""

    start: Callable[[Weights, C, np.random.Generator], Weights]
    """(logistic regression on mean tokens, config, generator) -> where to start; all in the space of the training."""
    loss: "Callable[[Float[Tensor, 'tokens columns'], Segments, Float[Tensor, 'records'], C], Any] | None" = None
    """(what is pooled, segments, labels 0 and 1, config) -> loss of each record; None: cross-entropy of the logit."""


def _as_projected(
    projections: "Float[Tensor, 'tokens columns']", more: "Mapping[str, Tensor]", config: FamilyConfig
) -> "Float[Tensor, 'tokens columns']":
    return projections


@dataclass(frozen=True)
class Family(Generic[C]):
    """A kind of probe: a token's linear projection, a transform of it (or none), and the pooling of a record.

    `module.ProbeModule` makes the torch module of it. Loading this class, or a family, does not load torch.
    """

    config: type[C]
    pool: "Callable[[Float[Tensor, 'tokens columns'], Segments, C], Pooled]"
    stream: Callable[[C], Stream]
    """Starts the pooling of a record whose tokens come one by one: after each, the logit that `pool` would give."""
    fitting: Exact[C] | Descent[C]
    by_sentence: bool = False
    """Whether the pooling needs to know where sentences end."""
    columns: Callable[[C], int] = lambda _: 1
    """Numbers that a token is projected to."""
    more: Callable[[C], Mapping[str, tuple[int, ...]]] = lambda _: {}
    """Name -> shape of the parameters of `transform`."""
    transform: "Callable[[Float[Tensor, 'tokens columns'], Mapping[str, Tensor], C], Tensor]" = _as_projected
    """(projections, parameters, config) -> what is pooled, of each token on its own."""


def random_directions(hidden: int, columns: int, generator: np.random.Generator) -> Float[np.ndarray, "hidden columns"]:
    """Uniform in +-1/sqrt(hidden), as PyTorch starts a linear layer."""
    bound = hidden**-0.5
    return generator.uniform(-bound, bound, size=(hidden, columns))


def start_from_mean(mean: Weights, config: FamilyConfig, generator: np.random.Generator) -> Weights:
    """The best weights for the mean over tokens, with a little noise that tells seeds apart."""
    noise = random_directions(len(mean.projection), 1, generator)
    return Weights(mean.projection + noise, mean.bias)
