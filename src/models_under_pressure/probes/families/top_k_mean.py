"""Linear probe, mean of the highest tokens: between the maximum (k = 1) and the mean.

Formula: `logit = mean of the k largest (w . x_t + b)`; a record shorter than k is averaged whole.

Regularisation: weight decay, early stopping on validation AUROC.
"""

import heapq
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.family import Descent, DescentConfig, Family, start_from_mean
from models_under_pressure.probes.pooling import Pooled, Segments, mean_of_chosen

if TYPE_CHECKING:
    from torch import Tensor


class Config(DescentConfig):
    """Linear probe, mean of the highest tokens."""

    family: Literal["top_k_mean"] = "top_k_mean"
    k: int = Field(default=5, ge=1)
    """Tokens to average."""


def pool(projections: "Float[Tensor, 'tokens 1']", segments: Segments, config: Config) -> Pooled:
    """Average the k highest tokens; the first ones of equals."""
    values = projections[:, 0]
    falling = values.sort(descending=True, stable=True).indices
    falling = falling[segments.record[falling].sort(stable=True).indices]
    highest = falling[segments.places < config.k]
    return mean_of_chosen(values, segments, values.new_zeros(len(values)).index_fill(0, highest, 1.0) > 0)


class Stream:
    """The k highest tokens so far, as a heap."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._k, self._highest = config.k, list[float]()

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        push = heapq.heappush if len(self._highest) < self._k else heapq.heappushpop
        push(self._highest, float(projection[0]))
        return sum(self._highest) / len(self._highest)


FAMILY = Family(config=Config, pool=pool, stream=Stream, fitting=Descent(start=start_from_mean))
