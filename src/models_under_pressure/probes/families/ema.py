"""Linear probe, highest running average, trained with a softmax-weighted loss over windows.

Source: Constitutional Classifiers++ (Cunningham et al. 2026, arXiv 2601.04603), section 5.

Formula: with `z_t = w . x_t + b`, `logit = max_t e_t`, where `e_t` is the exponential moving average of `z` up to token
`t`, its weights normalised to sum to 1; from token `window` on, and in a shorter record at its last token. Loss of a
record with label `y`: `sum_t softmax_t(m_t / temperature) cross_entropy(y, m_t)`, `m_t` being the mean of the window
that ends at `t`. The paper trains on windows of 16 tokens and scores by the average because its state is one number;
the decay is ours, `(window - 1) / (window + 1)`: tokens are then as old on average as in the window.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.families.rolling_mean_max import window_means
from models_under_pressure.probes.family import Descent, DescentConfig, Family, start_from_mean
from models_under_pressure.probes.pooling import Pooled, Segments, weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


class Config(DescentConfig):
    """Linear probe, highest running average."""

    family: Literal["ema"] = "ema"
    batch_size: int = Field(default=32, ge=1)
    epochs: int = Field(default=20, ge=1)
    patience: int = Field(default=5, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)
    window: int = Field(default=16, ge=1)
    """Tokens of a window of the loss, which sets the decay of the average."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the loss. Low: only the highest windows count; high: all alike."""

    @property
    def decay(self) -> float:
        """What a token's weight is multiplied with at each later token."""
        return (self.window - 1) / (self.window + 1)


def pool(projections: "Float[Tensor, 'tokens 1']", segments: Segments, config: Config) -> Pooled:
    """The average at its highest; the first one of equals."""
    values, places = projections[:, 0], segments.places
    lengths = segments.spread(segments.lengths)
    counts = (places >= config.window - 1) | ((places == lengths - 1) & (lengths < config.window))
    averages = running_averages(values.detach(), segments, config.decay).masked_fill(~counts, float("-inf"))
    ages = segments.places[segments.argmax(averages)].index_select(0, segments.record) - places
    weights = (config.decay ** ages.clamp(min=0).to(values.dtype)).masked_fill(ages < 0, 0.0)
    return weighted_sum(values, segments, weights / segments.spread(segments.sum(weights)))


def running_averages(values: "Float[Tensor, 'tokens']", segments: Segments, decay: float) -> "Float[Tensor, 'tokens']":
    """The average up to each token of its record."""
    import torch

    sums, weights, step = values, torch.ones_like(values), 1
    while step < int(segments.lengths.max()):  # sums of 1, 2, 4, … tokens, each of two halves
        inside = segments.places >= step
        shifted = (torch.cat([part.new_zeros(step), part[:-step]]) for part in (sums, weights))
        sums, weights = (
            part + (decay**step * before).where(inside, 0.0)
            for part, before in zip((sums, weights), shifted, strict=True)
        )
        step *= 2
    return sums / weights


def loss(
    projections: "Float[Tensor, 'tokens 1']",
    segments: Segments,
    labels: "Float[Tensor, 'records']",
    config: Config,
) -> "Float[Tensor, 'records']":
    """Cross-entropy of the windows, weighted by the softmax of their means."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    means = window_means(projections[:, 0], segments, config.window)
    weights = segments.softmax(means / config.temperature)
    are_windows = means.isfinite()
    losses = binary_cross_entropy_with_logits(means.where(are_windows, 0.0), segments.spread(labels), reduction="none")
    return segments.sum((weights * losses).where(are_windows, 0.0))


class Stream:
    """The average, and its highest value."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._config, self._count = config, 0
        self._sum = self._weight = 0.0
        self._highest = -np.inf

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        self._count += 1
        self._sum = self._config.decay * self._sum + float(projection[0])
        self._weight = self._config.decay * self._weight + 1.0
        average = self._sum / self._weight
        if self._count < self._config.window:
            return average
        self._highest = max(self._highest, average)
        return self._highest


FAMILY = Family(config=Config, pool=pool, stream=Stream, fitting=Descent(start=start_from_mean, loss=loss))
