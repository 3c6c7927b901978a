"""Poolings of one logit per token into one per record."""

import numpy as np
from jaxtyping import Bool, Float

from models_under_pressure.probes.family import FamilyConfig, Pooled
from models_under_pressure.probes.segments import Segments


def pool_mean(projections: Float[np.ndarray, "tokens 1"], segments: Segments, config: FamilyConfig) -> Pooled:
    """Mean over tokens."""
    return weighted_sum(projections, segments, segments.spread(1.0 / segments.lengths))


def pool_last(projections: Float[np.ndarray, "tokens 1"], segments: Segments, config: FamilyConfig) -> Pooled:
    """The last token."""
    shares = np.zeros(len(projections))
    shares[segments.offsets[1:] - 1] = 1.0
    return weighted_sum(projections, segments, shares)


def mean_of_chosen(
    projections: Float[np.ndarray, "tokens 1"], segments: Segments, chosen: Bool[np.ndarray, "tokens"]
) -> Pooled:
    """Mean over some of each record's tokens."""
    shares = chosen / segments.spread(segments.sum(chosen.astype(np.float64)))
    return weighted_sum(projections, segments, shares)


def weighted_sum(
    projections: Float[np.ndarray, "tokens 1"], segments: Segments, shares: Float[np.ndarray, "tokens"]
) -> Pooled:
    """Weighted sum over tokens, for shares that do not change with small changes of the logits."""
    contributions = shares * projections[:, 0]
    return Pooled(segments.sum(contributions), contributions, shares[:, None])
