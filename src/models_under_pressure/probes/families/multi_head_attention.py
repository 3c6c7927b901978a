"""Attention probe with several heads: the sum of as many attention probes, trained together.

Formula: `logit = sum_h sum_t softmax_t(q_h . x_t / sqrt(hidden)) (v_h . x_t + b_h)`.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.family import Descent, DescentConfig, Family, Weights, random_directions
from models_under_pressure.probes.pooling import Pooled, Segments

if TYPE_CHECKING:
    from torch import Tensor


class Config(DescentConfig):
    """Attention probe with several heads; else the hyper-parameters of the paper's attention probe."""

    family: Literal["multi_head_attention"] = "multi_head_attention"
    final_learning_rate: float = Field(default=5e-4, ge=0)
    heads: int = Field(default=4, ge=1)


def pool(projections: "Float[Tensor, 'tokens columns']", segments: Segments, config: DescentConfig) -> Pooled:
    """Sum over heads of the mean value (the second half of the columns), weighted by the scores (the first half)."""
    heads = projections.shape[1] // 2
    contributions = segments.softmax(projections[:, :heads]) * projections[:, heads:]
    return Pooled(segments.sum(contributions).sum(dim=1), contributions.sum(dim=1))


class Stream:
    """Each head's highest score, and its sums of weights and of weighted values relative to that."""

    def __init__(self, config: DescentConfig) -> None:
        """Start without tokens."""
        self._highest: Any = -np.inf
        self._weight: Any = 0.0
        self._value: Any = 0.0

    def update(self, projection: Float[np.ndarray, "columns"], closes_sentence: bool) -> float:
        """Take one more token (the running softmax of Milakov and Gimelshein 2018)."""
        scores, values = np.split(projection, 2)
        return self.add(scores, values)

    def add(self, scores: Float[np.ndarray, "heads"], values: Float[np.ndarray, "heads"]) -> float:
        """Take one more value of each head, with the score that weighs it."""
        highest = np.maximum(self._highest, scores)
        kept, added = np.exp(self._highest - highest), np.exp(scores - highest)
        self._highest = highest
        self._weight = self._weight * kept + added
        self._value = self._value * kept + added * values
        return float((self._value / self._weight).sum())


def start(mean: Weights, config: Config, generator: np.random.Generator) -> Weights:
    """See `start_heads`."""
    return start_heads(config.heads, mean, generator)


def start_heads(heads: int, mean: Weights, generator: np.random.Generator) -> Weights:
    """Random queries, and values that share the best ones for equal attention."""
    queries = random_directions(len(mean.projection), heads, generator)
    values = np.tile(mean.projection / heads, heads)
    bias = np.concatenate([np.zeros(heads), np.full(heads, mean.bias[0] / heads)])
    return Weights(np.hstack([queries, values]), bias)


FAMILY = Family(
    config=Config, pool=pool, stream=Stream, fitting=Descent(start=start), columns=lambda config: 2 * config.heads
)
