"""Attention probe: tokens weighted by a learned query (`attention` of McKenzie et al. 2025, table 1).

Formula: `logit = sum_t softmax_t(q . x_t / sqrt(hidden)) (v . x_t + b)`. The paper's formula leaves out the scale and
the bias; its released code has them, and a bias of the scores, which softmax cancels.

Regularisation: weight decay, early stopping on validation AUROC. The paper's descent (64 records a step, rate 5e-3, 200
epochs, patience 50) ends where this one does, which starts near the end (docs/benchmarks.md).
"""

from typing import Literal

import numpy as np
from pydantic import Field

from models_under_pressure.probes.families.multi_head_attention import Stream, pool, start_heads
from models_under_pressure.probes.family import Descent, DescentConfig, Family, Weights


class Config(DescentConfig):
    """Attention probe."""

    family: Literal["attention"] = "attention"
    batch_size: int = Field(default=32, ge=1)
    epochs: int = Field(default=20, ge=1)
    patience: int = Field(default=5, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)
    final_learning_rate: float = Field(default=5e-4, ge=0)


def start(mean: Weights, config: Config, generator: np.random.Generator) -> Weights:
    """A random query, and the values that are best for equal attention."""
    return start_heads(1, mean, generator)


FAMILY = Family(config=Config, pool=pool, stream=Stream, fitting=Descent(start=start), columns=lambda _: 2)
