"""A number with its interval."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value and the ends of its confidence interval (95 % unless the caller says otherwise)."""

    value: float
    low: float
    high: float
