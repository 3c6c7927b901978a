"""Logistic regression on the standardised mean token (the scikit-learn probe of McKenzie et al. 2025, appendix A).

Formula: `logit = w . standardise(mean_t x_t)`; as both are linear, it is also the mean over tokens of a token's logit.

Regularisation: L2 with C = 1e-3 and no intercept, as in the paper; or C chosen by grouped cross-validation.
"""

from typing import Literal

from models_under_pressure.probes.family import Exact, Family
from models_under_pressure.probes.logistic import LogisticConfig, solve_logistic
from models_under_pressure.probes.pooling import MeanStream, pool_mean


class Config(LogisticConfig):
    """Logistic regression on the standardised mean token."""

    family: Literal["mean_logistic"] = "mean_logistic"


FAMILY = Family(config=Config, pool=pool_mean, stream=MeanStream, fitting=Exact(reduction="mean", solve=solve_logistic))
