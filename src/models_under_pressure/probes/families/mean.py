"""Linear probe, mean over tokens (`mean` of McKenzie et al. 2025, table 1).

Formula: `logit = mean_t (w . x_t + b)`, which is `w . mean_t(x_t) + b`: the objective is that of a logistic regression
on mean tokens, and is solved instead of descended.

Regularisation: L2, of the strength of the paper's logistic probe; an intercept is fitted.
"""

from typing import Literal

from models_under_pressure.probes.family import Exact, Family
from models_under_pressure.probes.logistic import LogisticConfig, solve_logistic
from models_under_pressure.probes.pooling import MeanStream, pool_mean


class Config(LogisticConfig):
    """Linear probe, mean over tokens."""

    family: Literal["mean"] = "mean"
    fit_intercept: bool = True


FAMILY = Family(config=Config, pool=pool_mean, stream=MeanStream, fitting=Exact(reduction="mean", solve=solve_logistic))
