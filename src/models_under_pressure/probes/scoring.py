"""Projections of tokens: the only part of scoring that reads activations."""

import numpy as np
from jaxtyping import Float

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.probes.tokens import record_blocks, refuse_non_finite

_CACHED_TOKENS = 256
"""Tokens whose float64 values the cache still holds when they are multiplied."""


def project(
    activations: Activations, projection: Float[np.ndarray, "hidden columns"], bias: Float[np.ndarray, "columns"]
) -> Float[np.ndarray, "tokens columns"]:
    """`x @ projection + bias` of each token, in float64 so that the cut into blocks leaves no trace.

    Raises:
        UserError: an activation is NaN or infinite.
    """
    offsets = np.asarray(activations.offsets)
    projections = np.empty((int(offsets[-1]), len(bias)))
    for first, stop in record_blocks(offsets, activations.hidden):
        start, end = int(offsets[first]), int(offsets[stop])
        values = activations.read(start, end)
        for piece in range(start, end, _CACHED_TOKENS):
            part = values[piece - start : piece - start + _CACHED_TOKENS]
            projections[piece : piece + len(part)] = np.asarray(part, dtype=np.float64) @ projection + bias
        if not np.isfinite(projections[start:end]).all():
            refuse_non_finite(values, offsets[first : stop + 1] - start, activations, first)
    return projections
