"""Attention probe with several heads: the sum of as many attention probes, trained together.

Formula: `logit = sum_h sum_t softmax_t(q_h . x_t / sqrt(hidden)) (v_h . x_t + b_h)`.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.descent import DescentConfig, random_directions
from models_under_pressure.probes.family import Descent, Family, Linear, Pooled, Segments


class Config(DescentConfig):
    """Attention probe with several heads; else the hyper-parameters of the paper's attention probe."""

    family: Literal["multi_head_attention"] = "multi_head_attention"
    final_learning_rate: float = Field(default=5e-4, ge=0)
    heads: int = Field(default=4, ge=1)


def pool(projections: Float[np.ndarray, "tokens columns"], segments: Segments, config: DescentConfig) -> Pooled:
    """Sum over heads of the mean value (the second half of the columns), weighted by the scores (the first half)."""
    heads = projections.shape[1] // 2
    shares = segments.softmax(projections[:, :heads])
    values = projections[:, heads:]
    contributions = shares * values
    by_head = segments.sum(contributions)
    gradient = np.hstack([shares * (values - segments.spread(by_head)), shares])
    return Pooled(by_head.sum(axis=1), contributions.sum(axis=1), gradient)


def start(mean: Linear, config: Config, generator: np.random.Generator) -> Linear:
    """See `start_heads`."""
    return start_heads(config.heads, mean, generator)


def start_heads(heads: int, mean: Linear, generator: np.random.Generator) -> Linear:
    """Random queries, and values that share the best ones for equal attention."""
    queries = random_directions(len(mean.projection), heads, generator)
    values = np.tile(mean.projection / heads, heads)
    bias = np.concatenate([np.zeros(heads), np.full(heads, mean.bias[0] / heads)])
    return Linear(np.hstack([queries, values]), bias)


FAMILY = Family(config=Config, pool=pool, fitting=Descent(start=start), columns=lambda config: 2 * config.heads)
