"""Attention probe: tokens weighted by a learned query (McKenzie et al. 2025, table 1).

Formula: `logit = sum_t softmax_t((q . x_t + q0) / sqrt(hidden)) (v . x_t + v0)`. The paper's formula leaves out the scale and
the biases; its released code has them. `q0` adds the same to all scores of a record, so that softmax cancels it: there
is none here.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.family import Descent, Family, Linear, Pooled
from models_under_pressure.probes.descent import DescentConfig, random_direction
from models_under_pressure.probes.segments import Segments


class Config(DescentConfig):
    """Attention probe; the paper's hyper-parameters."""

    family: Literal["attention"] = "attention"
    final_learning_rate: float = Field(default=5e-4, ge=0)


def pool(projections: Float[np.ndarray, "tokens 2"], segments: Segments, config: Config) -> Pooled:
    """Average the values (column 1), weighted by the softmax of the scores (column 0)."""
    shares = segments.softmax(projections[:, 0])
    values = projections[:, 1]
    contributions = shares * values
    logits = segments.sum(contributions)
    gradient = np.column_stack([shares * (values - segments.spread(logits)), shares])
    return Pooled(logits, contributions, gradient)


def start(mean: Linear, config: Config, generator: np.random.Generator) -> Linear:
    """A random query, and the best value direction for equal attention."""
    query = random_direction(len(mean.projection), generator) / np.sqrt(len(mean.projection))
    return Linear(np.column_stack([query, mean.projection[:, 0]]), np.array([0.0, mean.bias[0]]))


FAMILY = Family(config=Config, pool=pool, fitting=Descent(start=start))
