"""Thresholds that promise a false positive rate on new traffic, and the rates found at a threshold.

The promise is a tolerance bound (Wilks 1941), exact at any number of conversations and for any distribution of scores.
Let n control conversations be drawn as new traffic will be, and the probe be fitted without them. A threshold just
above the k-th highest of their scores has a false positive rate of at most the k-th smallest of n uniform numbers,
which is Beta(k, n - k + 1): equal to it where scores are continuous, below it where they tie. So

    P(FPR > budget) <= P(Beta(k, n - k + 1) > budget) = P(Binomial(n, budget) <= k - 1),

and k is the largest number that keeps this at 1 - confidence. It depends on n and the budget, never on the scores, so
that the choice of the threshold from the same scores is paid for. The bound stored with a threshold is the quantile of
that Beta, which is Clopper and Pearson's one-sided upper end for k - 1 alarms among n. With k = 0 nothing can be
promised: n >= log(1 - confidence) / log(1 - budget) is needed, 299 for 1 %, 2,995 for 0.1 % and 5,990 for 0.05 % at
95 %.
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.special import bdtr, betaincinv

from models_under_pressure.evaluation.curves import group_indices
from models_under_pressure.evaluation.intervals import Estimate, clopper_pearson, evidence

_MARGIN = 1e-6
"""Share of a score's size by which a threshold stands above it: two runs on one conversation differ by less."""

Stored = Mapping[tuple[str, int], Mapping[float, float | None]]
"""Probe and seed -> budget -> logit to flag from; None flags nothing."""


def conversations_needed(budget: float, confidence: float = 0.95) -> int:
    """Fewest control conversations from which a threshold can promise the budget."""
    return math.ceil(math.log(1.0 - confidence) / math.log1p(-budget))


def promised_rank(conversations: int, budget: float, confidence: float = 0.95) -> int:
    """Place, from the highest, of the control score that the threshold stands above; 0: there are too few."""
    return int(np.sum(bdtr(np.arange(conversations), conversations, budget) <= 1.0 - confidence))


def promised_bound(conversations: int, rank: int, confidence: float = 0.95) -> float:
    """False positive rate that a threshold above the score of that rank keeps, at the confidence."""
    return float(betaincinv(rank, conversations - rank + 1, confidence))


def threshold_above(scores: Float[np.ndarray, "conversations"], rank: int) -> float:
    """A threshold just above the score of that rank: it flags those above it, and none that tie with it."""
    score = float(np.partition(scores, -rank)[-rank])
    return score + _MARGIN * max(1.0, abs(score))


def highest_of_groups(scores: ArrayLike, groups: ArrayLike | None) -> Float[np.ndarray, "groups"]:
    """Highest score of each group: conversations of one group are one draw, and count once, by their worst."""
    values = np.asarray(scores, dtype=np.float64)
    group_of = group_indices(groups, len(values))
    highest = np.full(int(group_of.max()) + 1, -np.inf)
    np.maximum.at(highest, group_of, values)
    return highest


def rates_at(
    threshold: float | None,
    scores: Float[np.ndarray, "records"],
    labels: Bool[np.ndarray, "records"],
    groups: ArrayLike | None,
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """`fpr` and `tpr` of flagging scores from a threshold (None: nothing), of the classes that there are.

    The threshold comes from other records, so that the interval of a share is exact (Clopper and Pearson 1934), with as
    many trials as groups hold the class.
    """
    flagged = np.zeros(len(scores), dtype=bool) if threshold is None else scores >= threshold
    sizes = dict(zip(("tpr", "fpr"), evidence(labels, groups), strict=True))
    members = {"tpr": labels, "fpr": ~labels}
    return {
        rate: clopper_pearson(float(flagged[members[rate]].mean()) * size, size, confidence)
        for rate, size in sizes.items()
        if size
    }
