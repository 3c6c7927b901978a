"""The space in which descent takes its steps: features of unit size, whatever the size of the activations."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models_under_pressure.probes.family import Weights

_MAD_TO_DEVIATION = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""


@dataclass(frozen=True, eq=False)
class Space:
    """Features `(x - centre) / divisor`, with the divisor `scale * sqrt(hidden)`.

    The root keeps the change of a logit by one step of AdamW the same at any width; the attention probe's own
    `1 / sqrt(hidden)` is this one.
    """

    centre: Float[np.ndarray, "hidden"]
    scale: Float[np.ndarray, "hidden"]

    @property
    def divisor(self) -> Float[np.ndarray, "hidden 1"]:
        """What each centred feature is divided by."""
        return self.scale[:, None] * np.sqrt(len(self.scale))

    def from_activations(self, weights: Weights) -> Weights:
        """Weights for activations as they are -> weights for these features; `ProbeModule.weights` is the way back."""
        bias = weights.bias + self.centre @ weights.projection
        return Weights(weights.projection * self.divisor, bias, weights.more)


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
