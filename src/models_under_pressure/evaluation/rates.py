"""True and false positive rates at a threshold, with exact intervals."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.estimate import Estimate
from models_under_pressure.evaluation.inputs import checked_labels, checked_scores, two_classes
from models_under_pressure.evaluation.intervals import clopper_pearson, evidence


def rates_at_threshold(
    scores: ArrayLike,
    labels: ArrayLike,
    threshold: float,
    groups: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[Estimate, Estimate]:
    """TPR and FPR of flagging scores >= a threshold fixed beforehand, each with its Clopper-Pearson interval.

    With groups, the trials are as many as the groups that hold the class: exact when groups hold one record of it,
    wider than needed when they hold several.

    Raises:
        ValueError: one class is missing.
    """
    checked = two_classes(checked_labels(labels))
    flagged = checked_scores(scores, len(checked)) >= threshold
    trials = evidence(checked, groups)
    tpr, fpr = (
        clopper_pearson(float(flagged[members].mean()) * size, size, confidence)
        for members, size in zip((checked, ~checked), trials, strict=True)
    )
    return tpr, fpr


def tpr_at_fpr_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    budget: float,
    groups: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """`tpr_at_fpr` with an interval for the TPR of the threshold whose true false positive rate is the budget.

    The bootstrap cannot give it: the threshold hangs on the top `budget` x n of n negatives, and 1 % of 43 is none
    (95 % percentile intervals then cover 64 %). But the number of negatives above the true threshold is
    Binomial(n, budget), which holds the threshold between two order statistics of the negatives; exact intervals of
    the TPR at those two finish the bound. Each of the four tails gets a quarter of the error, so that the interval
    covers at least at the nominal rate whatever the distribution of scores. Fewer than 437 negatives cannot bound the
    TPR at 1 % from below (0.99^437 < 0.0125), and the interval says so: it starts at 0.

    With groups, the trials are as many as the groups that hold the class.

    Raises:
        ValueError: one class is missing.
    """
    checked = two_classes(checked_labels(labels))
    counts = curves.count(curves.rank(checked_scores(scores, len(checked)), checked))
    positives, negatives = evidence(checked, groups)
    tail = (1.0 - confidence) / 4.0
    chance = bdtr(np.arange(negatives + 1), negatives, budget)
    strict = int(np.sum(chance <= tail)) - 1
    lax = int(np.sum(chance < 1.0 - tail))
    low = 0.0
    if strict >= 0:
        tpr = float(curves.tpr_at_fpr(counts, strict / negatives))
        low = clopper_pearson(tpr * positives, positives, 1.0 - 2.0 * tail).low
    tpr = float(curves.tpr_at_fpr(counts, lax / negatives))
    high = clopper_pearson(tpr * positives, positives, 1.0 - 2.0 * tail).high
    return Estimate(float(curves.tpr_at_fpr(counts, budget)), low, high)
