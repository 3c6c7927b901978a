"""Linear probe, mean of the highest tokens: between the maximum (k = 1) and the mean.

Formula: `logit = mean of the k largest (w . x_t + b)`; a record shorter than k is averaged whole.

Regularisation: weight decay, early stopping on validation AUROC.
"""

import heapq
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.descent import DescentConfig, start_from_mean
from models_under_pressure.probes.family import Descent, Family, Pooled, Segments, mean_of_chosen


class Config(DescentConfig):
    """Linear probe, mean of the highest tokens."""

    family: Literal["top_k_mean"] = "top_k_mean"
    k: int = Field(default=5, ge=1)
    """Tokens to average."""


def pool(projections: Float[np.ndarray, "tokens 1"], segments: Segments, config: Config) -> Pooled:
    """Average the k highest tokens; the first ones of equals."""
    record = np.repeat(np.arange(len(segments.lengths)), segments.lengths)
    falling = np.lexsort((-projections[:, 0], record))
    place = np.empty(len(projections), dtype=np.int64)
    place[falling] = np.arange(len(projections)) - segments.spread(segments.offsets[:-1])
    return mean_of_chosen(projections, segments, place < config.k)


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
