"""Linear probe on the last token (`last` of McKenzie et al. 2025, table 1).

Formula: `logit = w . x_T + b`, the objective of a logistic regression on last tokens.

By default that is the last token of the conversation's text: what a chat template puts behind it differs from model to
model, and may be a mere line break (ChatML), at which a model has nothing left to predict from the text.

Regularisation: L2, of the strength of the paper's logistic probe; an intercept is fitted.
"""

from typing import Literal

from pydantic import Field

from models_under_pressure.probes.family import Exact, Family, Role
from models_under_pressure.probes.logistic import LogisticConfig, solve_logistic
from models_under_pressure.probes.pooling import LastStream, pool_last


class Config(LogisticConfig):
    """Linear probe on the last token."""

    family: Literal["last"] = "last"
    tokens: tuple[Role, ...] = Field(default=("system", "user", "assistant"), min_length=1)
    fit_intercept: bool = True


FAMILY = Family(config=Config, pool=pool_last, stream=LastStream, fitting=Exact(reduction="last", solve=solve_logistic))
