"""MLP probe: mean over tokens of a small network's output (Kramár et al. 2026, arXiv 2601.11516, section 3.1.3).

Formula: `logit = mean_t (a . relu(A x_t + b) + c)`: one hidden layer. Two of its units start as the solution that is
best for a linear probe, `relu(z) - relu(-z) = z`, the others at random: descent begins where the linear probe ends.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.family import Descent, DescentConfig, Family, Weights
from models_under_pressure.probes.pooling import MeanStream, pool_mean

if TYPE_CHECKING:
    from torch import Tensor


class LayerConfig(DescentConfig):
    """Hyper-parameters of a probe that transforms each token by a hidden layer."""

    batch_size: int = Field(default=32, ge=1)
    epochs: int = Field(default=20, ge=1)
    patience: int = Field(default=5, ge=1)
    final_learning_rate: float = Field(default=5e-4, ge=0)
    width: int = Field(default=100, ge=2)
    """Units of the hidden layer; the default is the paper's."""


class Config(LayerConfig):
    """MLP probe."""

    family: Literal["mlp"] = "mlp"


def layer_shapes(width: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the parameters behind the hidden layer."""
    return {"outer": (width, outputs), "outer_bias": (outputs,)}


def through_layer(
    projections: "Float[Tensor, 'tokens width']", more: "Mapping[str, Tensor]", config: LayerConfig
) -> "Float[Tensor, 'tokens outputs']":
    """The outputs of the hidden layer, whose units are the projections."""
    return projections.relu() @ more["outer"] + more["outer_bias"]


def start_layer(
    mean: Weights, shares: Float[np.ndarray, "outputs"], width: int, generator: np.random.Generator
) -> Weights:
    """A hidden layer of which each output is a share of the linear solution, and a little noise."""
    hidden, outputs = len(mean.projection), len(shares)
    projection = generator.normal(size=(hidden, width))
    projection[:, :2] = mean.projection * [1.0, -1.0]
    bias = np.concatenate([mean.bias, -mean.bias, np.zeros(width - 2)])
    outer = generator.uniform(-1.0, 1.0, size=(width, outputs)) / (width * max(1, outputs))
    outer[:2] += np.stack([shares, -shares])
    return Weights(projection, bias, {"outer": outer, "outer_bias": np.zeros(outputs)})


def start(mean: Weights, config: Config, generator: np.random.Generator) -> Weights:
    """The linear probe on mean tokens."""
    return start_layer(mean, np.ones(1), config.width, generator)


FAMILY = Family(
    config=Config,
    pool=pool_mean,
    stream=MeanStream,
    fitting=Descent(start=start),
    columns=lambda config: config.width,
    more=lambda config: layer_shapes(config.width, 1),
    transform=through_layer,
)
