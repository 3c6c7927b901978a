"""Attention within rolling windows, the highest window of each head.

Source: the max of rolling means attention probe of Kramár et al. 2026 (arXiv 2601.11516), section 3.2.2.

Formula: with `y_t = relu(A x_t + b)` and the scores `s_t = q_h . y_t` and values `v_t = v_h . y_t + c_h` of a head,
`logit = sum_h max_i (sum_{i <= t < i + window} exp(s_t) v_t) / (sum_{i <= t < i + window} exp(s_t))`, over the windows
that lie within the record; a record shorter than the window is one window. The paper trains with attention over the
whole record and takes the windows in evaluation; here training and scoring have the same formula.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from collections import deque
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from models_under_pressure.probes.families.mlp import LayerConfig, layer_shapes, start_layer, through_layer
from models_under_pressure.probes.family import Descent, Family, Weights
from models_under_pressure.probes.pooling import Pooled, Segments

if TYPE_CHECKING:
    from torch import Tensor


class Config(LayerConfig):
    """Attention within rolling windows; width, heads and window are the paper's."""

    family: Literal["rolling_attention"] = "rolling_attention"
    heads: int = Field(default=10, ge=1)
    window: int = Field(default=10, ge=1)
    """Tokens of a window."""


def pool(outputs: "Float[Tensor, 'tokens columns']", segments: Segments, config: Config) -> Pooled:
    """Attention (first half of the columns: scores) over the values (second half) of each head's best window."""
    scores, values = outputs.split(config.heads, dim=1)
    seen = best_windows(scores.detach(), values.detach(), segments, config.window)
    contributions = segments.softmax(scores.masked_fill(~seen, float("-inf"))) * values
    return Pooled(segments.sum(contributions).sum(dim=1), contributions.sum(dim=1))


def best_windows(
    scores: "Float[Tensor, 'tokens heads']",
    values: "Float[Tensor, 'tokens heads']",
    segments: Segments,
    window: int,
) -> "Bool[Tensor, 'tokens heads']":
    """Which tokens are in the window where a head's attention finds the most; the first one of equals."""
    import torch

    places, back = segments.places[:, None], torch.arange(window - 1, -1, -1, device=scores.device)
    outside = (places < back)[:, None]
    own, shown = _last(scores, window).masked_fill(outside, float("-inf")), _last(values, window)
    found = (own.softmax(dim=2) * shown.masked_fill(outside, 0.0)).sum(dim=2)
    lengths = segments.spread(segments.lengths)[:, None]
    is_window = (places >= window - 1) | ((places == lengths - 1) & (lengths < window))
    found = found.masked_fill(~is_window, float("-inf"))
    is_best = found == segments.spread(segments.max(found))
    first = -segments.max((-places).to(scores.dtype).where(is_best, float("-inf")))
    ends = segments.spread(first)
    return (places <= ends) & (places > ends - window)


def _last(values: "Float[Tensor, 'tokens heads']", window: int) -> "Float[Tensor, 'tokens heads window']":
    """Each token's value after those of the tokens before it."""
    padded = values.new_zeros((len(values) + window - 1, values.shape[1]))
    padded[window - 1 :] = values
    return padded.unfold(0, window, 1)


class Stream:
    """Scores and values of the latest window, and each head's best whole one."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._window = deque[Float[np.ndarray, "columns"]](maxlen=config.window)
        self._highest: Any = -np.inf

    def update(self, projection: Float[np.ndarray, "columns"], closes_sentence: bool) -> float:
        """Take one more token."""
        self._window.append(projection)
        scores, values = np.split(np.stack(self._window), 2, axis=1)
        powers = np.exp(scores - scores.max(axis=0))
        found = (powers * values).sum(axis=0) / powers.sum(axis=0)
        if len(self._window) < (self._window.maxlen or 0):
            return float(found.sum())
        self._highest = np.maximum(self._highest, found)
        return float(self._highest.sum())


def start(mean: Weights, config: Config, generator: np.random.Generator) -> Weights:
    """Equal attention, and values that share the solution that is best for the mean."""
    shares = np.repeat([0.0, 1.0 / config.heads], config.heads)
    return start_layer(mean, shares, config.width, generator)


FAMILY = Family(
    config=Config,
    pool=pool,
    stream=Stream,
    fitting=Descent(start=start),
    columns=lambda config: config.width,
    more=lambda config: layer_shapes(config.width, 2 * config.heads),
    transform=through_layer,
)
