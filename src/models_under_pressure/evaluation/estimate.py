"""A number with its interval, and the difference of two."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value and the ends of its confidence interval (95 % unless the caller says otherwise)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed (after minus before), its interval, standard error and two-sided p-value of no change."""

    value: float
    low: float
    high: float
    error: float
    p_value: float
