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


FAMILY = Family(config=Config, pool=pool, fitting=Descent(start=start_from_mean))
