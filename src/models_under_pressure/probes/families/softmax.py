"""Linear probe, softmax-weighted mean over tokens (`softmax` of McKenzie et al. 2025, table 1).

Formula: with `z_t = w . x_t + b`, `logit = sum_t softmax_t(z_t / temperature) z_t`.

Regularisation: weight decay, early stopping on validation AUROC. The paper's descent (64 records a step, rate 5e-3, 200
epochs, patience 10) ends where this one does, which starts near the end (docs/benchmarks.md).
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.families import multi_head_attention
from models_under_pressure.probes.family import Descent, DescentConfig, Family, start_from_mean
from models_under_pressure.probes.pooling import Pooled, Segments, weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


class Config(DescentConfig):
    """Linear probe, softmax-weighted mean over tokens."""

    family: Literal["softmax"] = "softmax"
    batch_size: int = Field(default=32, ge=1)
    epochs: int = Field(default=20, ge=1)
    patience: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)
    temperature: float = Field(default=5.0, gt=0)
    """High: near the mean; low: near the maximum."""


def pool(projections: "Float[Tensor, 'tokens 1']", segments: Segments, config: Config) -> Pooled:
    """Average the logits, weighted by their own softmax."""
    values = projections[:, 0]
    return weighted_sum(values, segments, segments.softmax(values / config.temperature))


class Stream:
    """The attention of one head whose score is the logit over the temperature."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._head, self._temperature = multi_head_attention.Stream(config), config.temperature

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        return self._head.add(projection / self._temperature, projection)


FAMILY = Family(config=Config, pool=pool, stream=Stream, fitting=Descent(start=start_from_mean))
