"""Poolings of one logit per token into one per record; families with the same pooling share it."""

import numpy as np
from jaxtyping import Float

from models_under_pressure.probes.family import FamilyConfig, Pooled
from models_under_pressure.probes.segments import Segments


def pool_mean(projections: Float[np.ndarray, "tokens 1"], segments: Segments, config: FamilyConfig) -> Pooled:
    """Mean over tokens."""
    return weighted(projections, segments, segments.spread(1.0 / segments.lengths))


def weighted(
    projections: Float[np.ndarray, "tokens 1"], segments: Segments, shares: Float[np.ndarray, "tokens"]
) -> Pooled:
    """Weighted sum over tokens, for shares that small changes of the logits leave as they are."""
    contributions = shares * projections[:, 0]
    return Pooled(segments.sum(contributions), contributions, shares[:, None])
