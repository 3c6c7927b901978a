"""Logistic regression on the mean token (the `sklearn` probe of McKenzie et al. 2025).

Formula: `logit = w . standardise(mean_t x_t)`; as both are linear, it is also the mean over tokens of a token's logit.

Regularisation: L2 with C = 1e-3, or C chosen by grouped cross-validation.
"""

from typing import Literal

from models_under_pressure.probes.exact import LogisticConfig, logistic
from models_under_pressure.probes.family import Exact, Family
from models_under_pressure.probes.pooling import pool_mean


class Config(LogisticConfig):
    """Mean token, standardised, L2-regularised logistic regression."""

    family: Literal["mean_logistic"] = "mean_logistic"


FAMILY = Family(config=Config, pool=pool_mean, fitting=Exact(reduction="mean", solve=logistic))
