"""MultiMax probe: each head looks at one token (Kramár et al. 2026, arXiv 2601.11516, section 3.2.1).

Formula: with `y_t = relu(A x_t + b)`, `logit = sum_h max_t (v_h . y_t + c_h)`. A maximum is not diluted by what a long
conversation says beside it. The paper trains some such probes with a softmax in place of the maximum; here training and
scoring have the same formula.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.families.mlp import LayerConfig, layer_shapes, start_layer, through_layer
from models_under_pressure.probes.family import Descent, Family, Weights
from models_under_pressure.probes.pooling import Pooled, Segments

if TYPE_CHECKING:
    from torch import Tensor


class Config(LayerConfig):
    """MultiMax probe; width and heads are the paper's."""

    family: Literal["multimax"] = "multimax"
    heads: int = Field(default=10, ge=1)


def pool(values: "Float[Tensor, 'tokens heads']", segments: Segments, config: Config) -> Pooled:
    """Sum over heads of the highest token; equals share."""
    highest = (values == segments.spread(segments.max(values))).to(values.dtype)
    contributions = highest / segments.spread(segments.sum(highest)) * values
    return Pooled(segments.sum(contributions).sum(dim=1), contributions.sum(dim=1))


class Stream:
    """Each head's maximum so far."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._highest: Any = -np.inf

    def update(self, projection: Float[np.ndarray, "heads"], closes_sentence: bool) -> float:
        """Take one more token."""
        self._highest = np.maximum(self._highest, projection)
        return float(self._highest.sum())


def start(mean: Weights, config: Config, generator: np.random.Generator) -> Weights:
    """Heads that share the solution that is best for the mean."""
    return start_layer(mean, np.full(config.heads, 1.0 / config.heads), config.width, generator)


FAMILY = Family(
    config=Config,
    pool=pool,
    stream=Stream,
    fitting=Descent(start=start),
    columns=lambda config: config.width,
    more=lambda config: layer_shapes(config.width, config.heads),
    transform=through_layer,
)
