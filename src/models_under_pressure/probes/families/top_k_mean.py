"""Linear probe, mean of the highest tokens: between the maximum (k = 1) and the mean.

Formula: `logit = mean of the k largest (w . x_t + b)`; a record shorter than k is averaged whole.

Regularisation: weight decay, early stopping on validation AUROC.
"""

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


FAMILY = Family(config=Config, pool=pool, fitting=Descent(start=start_from_mean))
