"""Difference of class means (Marks and Tegmark 2023; `difference_of_means` of McKenzie et al. 2025).

Formula: with `d = mean(high) - mean(low)` of the records' mean tokens, `logit = mean_t(d . x_t) - d . (mean(high) +
mean(low)) / 2`: zero half-way between the classes.

Regularisation: none. The first token is left out: no standardisation, penalty or robust scale shields this family from
its length, and the direction was that of short records.
"""

from typing import Literal

import numpy as np

from models_under_pressure.probes.family import Exact, Family, FamilyConfig, RecordVectors, Weights
from models_under_pressure.probes.logistic import fold, standardise
from models_under_pressure.probes.pooling import MeanStream, pool_mean


class Config(FamilyConfig):
    """Difference of class means."""

    family: Literal["difference_of_means"] = "difference_of_means"
    first_token: bool = False
    standardise: bool = False
    """Whether every feature gets unit variance first (the paper: no); few large features else set the direction."""


def solve(vectors: RecordVectors, config: Config, seed: int) -> Weights:
    """The direction from one class mean to the other."""
    values, centre, scale = vectors.values, np.zeros(1), np.ones(1)
    if config.standardise:
        values, centre, scale = standardise(vectors)
    weights = np.ones(len(values)) if vectors.weights is None else vectors.weights
    high, low = (np.average(values[own], axis=0, weights=weights[own]) for own in (vectors.labels, ~vectors.labels))
    direction = high - low
    hidden = len(direction)
    bias = -float(direction @ (high + low)) / 2
    return fold(direction, bias, np.broadcast_to(centre, hidden), np.broadcast_to(scale, hidden))


FAMILY = Family(config=Config, pool=pool_mean, stream=MeanStream, fitting=Exact(reduction="mean", solve=solve))
