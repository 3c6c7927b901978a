"""Linear probe, maximum over tokens (`max` of McKenzie et al. 2025, table 1).

Formula: `logit = max_t (w . x_t + b)`, over the record's own tokens only.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from models_under_pressure.probes.descent import DescentConfig, start_from_mean
from models_under_pressure.probes.family import Descent, Family, Pooled, Segments, weighted_sum


class Config(DescentConfig):
    """Linear probe, maximum over tokens; the paper's hyper-parameters."""

    family: Literal["max"] = "max"


def pool(projections: Float[np.ndarray, "tokens 1"], segments: Segments, config: Config) -> Pooled:
    """The highest token; the first one of equals."""
    shares = np.zeros(len(projections))
    shares[segments.argmax(projections[:, 0])] = 1.0
    return weighted_sum(projections, segments, shares)


class Stream:
    """Running maximum."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._highest = -np.inf

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        self._highest = max(self._highest, float(projection[0]))
        return self._highest


FAMILY = Family(config=Config, pool=pool, stream=Stream, fitting=Descent(start=start_from_mean))
