"""Gated bilinear probe: a token's value counts as much as its gate is open.

Formula: `logit = mean_t sum_h (v_h . x_t + b_h) softplus(g_h . x_t + c_h)`: products of two linear forms, as in gated
linear units (Shazeer 2020, arXiv 2002.05202), with the gate of the gated bipolar probe that AlphaEvolve found (Kramár
et al. 2026, arXiv 2601.11516, appendix F.2). That probe takes maxima and minima over the tokens, this one the mean.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.family import Descent, DescentConfig, Family, Weights, random_directions
from models_under_pressure.probes.pooling import MeanStream, Pooled, Segments, pool_mean

if TYPE_CHECKING:
    from torch import Tensor

_OPEN = float(np.log(np.e - 1))
"""softplus of this is 1."""


class Config(DescentConfig):
    """Gated bilinear probe."""

    family: Literal["gated_bilinear"] = "gated_bilinear"
    batch_size: int = Field(default=32, ge=1)
    epochs: int = Field(default=20, ge=1)
    patience: int = Field(default=5, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)
    final_learning_rate: float = Field(default=5e-4, ge=0)
    heads: int = Field(default=8, ge=1)


def pool(projections: "Float[Tensor, 'tokens columns']", segments: Segments, config: Config) -> Pooled:
    """Mean over tokens of the values (first half of the columns) times their gates (second half)."""
    from torch.nn.functional import softplus

    values, gates = projections.split(config.heads, dim=1)
    return pool_mean((values * softplus(gates, threshold=50)).sum(dim=1, keepdim=True), segments, config)


class Stream:
    """Running mean of what passes the gates."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._mean = MeanStream(config)

    def update(self, projection: Float[np.ndarray, "columns"], closes_sentence: bool) -> float:
        """Take one more token."""
        values, gates = np.split(projection, 2)
        return self._mean.update(np.array([values @ np.logaddexp(0.0, gates)]), closes_sentence)


def start(mean: Weights, config: Config, generator: np.random.Generator) -> Weights:
    """Open gates, and values that share the solution that is best for the mean."""
    noise = random_directions(len(mean.projection), 2 * config.heads, generator)
    shares = np.repeat([1.0 / config.heads, 0.0], config.heads)
    bias = np.repeat([mean.bias[0] / config.heads, _OPEN], config.heads)
    return Weights(mean.projection * shares + noise, bias)


FAMILY = Family(
    config=Config, pool=pool, stream=Stream, fitting=Descent(start=start), columns=lambda config: 2 * config.heads
)
