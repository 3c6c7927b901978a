"""Linear probe, maximum of rolling means (`max of rolling means` of McKenzie et al. 2025, table 1).

Formula: `logit = max_i mean_{i <= t < i + window} (w . x_t + b)`, over the windows that lie within the record; a record
shorter than the window is one window.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from collections import deque
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.family import Descent, DescentConfig, Family, start_from_mean
from models_under_pressure.probes.pooling import Pooled, Segments, mean_of_chosen

if TYPE_CHECKING:
    from torch import Tensor


class Config(DescentConfig):
    """Linear probe, maximum of rolling means; the paper's hyper-parameters."""

    family: Literal["rolling_mean_max"] = "rolling_mean_max"
    window: int = Field(default=40, ge=1)
    """Tokens of a window."""


def pool(projections: "Float[Tensor, 'tokens 1']", segments: Segments, config: Config) -> Pooled:
    """The window with the highest mean; the first one of equals."""
    values = projections[:, 0]
    best = segments.argmax(window_means(values.detach(), segments, config.window)) - segments.offsets[:-1]
    from_best = segments.places - segments.spread(best)
    return mean_of_chosen(values, segments, (from_best >= 0) & (from_best < config.window))


def window_means(values: "Float[Tensor, 'tokens']", segments: Segments, window: int) -> "Float[Tensor, 'tokens']":
    """Mean of the window that starts at each token; minus infinity where it would pass the record's end."""
    # Summed window by window, not as differences of one running sum: that would carry rounding from record to record.
    padded = values.new_zeros(len(values) + window - 1)
    padded[: len(values)] = values
    means = padded.unfold(0, window, 1).mean(dim=1)
    lengths = segments.spread(segments.lengths)
    means = means.where(segments.places + window <= lengths, float("-inf"))
    is_whole = (segments.places == 0) & (lengths < window)
    return means.where(~is_whole, segments.spread(segments.mean(values)))


class Stream:
    """The tokens of the latest window, and the highest mean of a whole one."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._window = deque[float](maxlen=config.window)
        self._highest = -np.inf

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        self._window.append(float(projection[0]))
        mean = sum(self._window) / len(self._window)
        if len(self._window) < (self._window.maxlen or 0):
            return mean
        self._highest = max(self._highest, mean)
        return self._highest


FAMILY = Family(config=Config, pool=pool, stream=Stream, fitting=Descent(start=start_from_mean))
