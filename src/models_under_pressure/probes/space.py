"""The space in which gradient descent sees tokens: every feature of unit size, whatever the model and its width."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models_under_pressure.probes.family import Linear

_MAD_TO_DEVIATION = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""


@dataclass(frozen=True, eq=False)
class Space:
    """Features `(x - centre) / (scale * sqrt(hidden))`.

    The root keeps the change of a logit by one step of AdamW the same at any width; the attention probe's own
    `1 / sqrt(hidden)` is this one.
    """

    centre: Float[np.ndarray, "hidden"]
    scale: Float[np.ndarray, "hidden"]

    @property
    def _divisor(self) -> Float[np.ndarray, "hidden 1"]:
        return self.scale[:, None] * np.sqrt(len(self.scale))

    def to_activations(self, weights: Linear) -> Linear:
        """Weights for this space -> weights for activations as they are, with the same projections."""
        projection = weights.projection / self._divisor
        return Linear(projection, weights.bias - self.centre @ projection)

    def from_activations(self, weights: Linear) -> Linear:
        """The inverse of `to_activations`."""
        return Linear(weights.projection * self._divisor, weights.bias + self.centre @ weights.projection)

    def gradient(
        self, by_projection: Float[np.ndarray, "hidden columns"], by_bias: Float[np.ndarray, "columns"]
    ) -> Linear:
        """Gradient by weights for activations as they are -> gradient by weights for this space."""
        return Linear((by_projection - np.outer(self.centre, by_bias)) / self._divisor, by_bias)


def robust_space(sample: Float[np.ndarray, "tokens hidden"]) -> Space:
    """Centre and scale from medians.

    The first token of a record is a hundred times longer than the others in many models (Sun et al. 2024, "massive
    activations"), and would by itself set any mean and standard deviation.
    """
    centre = np.median(sample, axis=0).astype(np.float64)
    scale = np.median(np.abs(sample - centre), axis=0) * _MAD_TO_DEVIATION
    deviation = sample.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 0, scale, deviation)
    return Space(centre, np.where(scale > 0, scale, 1.0))
