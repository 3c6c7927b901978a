"""Linear probe on the last token (`last` of McKenzie et al. 2025, table 1).

Formula: `logit = w . x_T + b`, the objective of a logistic regression on last tokens.

Regularisation: L2, of the strength of the paper's logistic probe; an intercept is fitted.
"""

from typing import Literal

from models_under_pressure.probes.family import Exact, Family
from models_under_pressure.probes.logistic import LogisticConfig, solve_logistic
from models_under_pressure.probes.pooling import pool_last


class Config(LogisticConfig):
    """Linear probe on the last token."""

    family: Literal["last"] = "last"
    fit_intercept: bool = True


FAMILY = Family(config=Config, pool=pool_last, fitting=Exact(reduction="last", solve=solve_logistic))
