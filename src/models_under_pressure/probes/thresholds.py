"""Thresholds of a probe's logit at given false positive rates, from records it was not fitted on."""

import math

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict

from models_under_pressure.evaluation.metrics import threshold_at_fpr


class Threshold(BaseModel):
    """The lowest threshold that keeps a budget of false positives, and what it did on the validation split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: float
    """False positive rate asked for."""
    logit: float | None
    """Flag a record whose logit is at least this; None when only flagging nothing keeps the budget."""
    fpr: float
    """False positive rate found."""
    fpr_low: float
    fpr_high: float
    """Ends of its 95 % Clopper-Pearson interval."""
    tpr: float
    """True positive rate found."""
    negatives: int
    positives: int


def threshold_table(
    logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"], budgets: tuple[float, ...]
) -> tuple[Threshold, ...]:
    """One row per budget."""
    return tuple(_threshold(logits, labels, budget) for budget in sorted(budgets))


def _threshold(logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"], budget: float) -> Threshold:
    from scipy.stats import binomtest

    threshold = threshold_at_fpr(logits, labels, budget)
    flagged = logits >= threshold
    negatives, positives = int((~labels).sum()), int(labels.sum())
    false = int((flagged & ~labels).sum())
    interval = binomtest(false, negatives).proportion_ci(0.95, method="exact")
    return Threshold(
        budget=budget,
        logit=float(threshold) if math.isfinite(threshold) else None,
        fpr=false / negatives,
        fpr_low=float(interval.low),
        fpr_high=float(interval.high),
        tpr=int((flagged & labels).sum()) / positives,
        negatives=negatives,
        positives=positives,
    )
