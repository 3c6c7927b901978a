"""Linear probe, maximum of rolling means (`max of rolling means` of McKenzie et al. 2025, table 1).

Formula: `logit = max_i mean_{i <= t < i + window} (w . x_t + b)`, over the windows that lie within the record; a record
shorter than the window is one window.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from collections import deque
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.descent import DescentConfig, start_from_mean
from models_under_pressure.probes.family import Descent, Family, Pooled, Segments, mean_of_chosen


class Config(DescentConfig):
    """Linear probe, maximum of rolling means; the paper's hyper-parameters."""

    family: Literal["rolling_mean_max"] = "rolling_mean_max"
    window: int = Field(default=40, ge=1)
    """Tokens of a window."""


def pool(projections: Float[np.ndarray, "tokens 1"], segments: Segments, config: Config) -> Pooled:
    """The window with the highest mean; the first one of equals."""
    starts = segments.argmax(window_means(projections[:, 0], segments, config.window))
    chosen = np.zeros(len(projections) + 1)
    np.add.at(chosen, starts, 1.0)
    np.add.at(chosen, np.minimum(starts + config.window, segments.offsets[1:]), -1.0)
    return mean_of_chosen(projections, segments, np.cumsum(chosen)[:-1] > 0.5)


def window_means(logits: Float[np.ndarray, "tokens"], segments: Segments, window: int) -> Float[np.ndarray, "tokens"]:
    """Mean of the window that starts at each token; minus infinity where it would pass the record's end."""
    starts, ends = segments.offsets[:-1], segments.offsets[1:]
    # Summed window by window, not as differences of one running sum: that would carry rounding from record to record.
    padded = np.concatenate([logits, np.zeros(window - 1)])
    sums = np.lib.stride_tricks.sliding_window_view(padded, window).sum(axis=1)
    fits = np.arange(len(logits)) + window <= segments.spread(ends)
    means = np.where(fits, sums / window, -np.inf)
    short = segments.lengths < window
    means[starts[short]] = (segments.sum(logits) / segments.lengths)[short]
    return means


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
