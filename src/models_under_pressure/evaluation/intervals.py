"""Confidence intervals: bootstrap percentiles, DeLong's variance, and the exact binomial."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtr, stdtrit

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.estimate import Estimate
from models_under_pressure.evaluation.inputs import checked_labels, checked_scores, group_indices, two_classes
from models_under_pressure.evaluation.resampling import plan, replicate


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """Exact interval of a proportion (Clopper and Pearson 1934): covers at least at the nominal rate, at any n."""
    if trials == 0:
        return Estimate(0.0, 0.0, 1.0)
    tail = (1.0 - confidence) / 2.0
    low = betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, trials - successes, 1.0 - tail) if successes < trials else 1.0
    return Estimate(successes / trials, float(low), float(high))


def percentile_interval(
    value: float, replicates: Float[np.ndarray, "resamples"], groups: int, confidence: float = 0.95
) -> Estimate:
    """Expanded percentile interval (Hesterberg 2015, section 4.4.1).

    A bootstrap of n groups is too narrow by sqrt((n - 1) / n) and knows nothing of the t distribution; both are mended
    by taking wider percentiles. With one group nothing is known, and the interval is what the replicates span.
    """
    tail = (1.0 - confidence) / 2.0
    if groups > 1:
        tail = float(ndtr(np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, tail)))
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return Estimate(value, float(low), float(high))


def bootstrap_auroc(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    seed: int,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Estimate:
    """AUROC with its grouped bootstrap interval.

    Raises:
        ValueError: one class is missing.
    """
    checked = two_classes(checked_labels(labels))
    ranking = curves.rank(checked_scores(scores, len(checked)), checked)
    drawn = plan(checked, groups)
    replicates = replicate(
        lambda weights: {"auroc": curves.auroc(curves.count(ranking, weights))},
        drawn,
        resamples,
        np.random.default_rng(seed),
    )
    value = float(curves.auroc(curves.count(ranking)))
    return percentile_interval(value, replicates["auroc"], evidence(checked, groups), confidence)


def evidence(labels: Bool[np.ndarray, "records"], groups: ArrayLike | None) -> int:
    """Number of groups that hold the rarer class: what a ranking metric's precision rests on."""
    group_of = group_indices(groups, len(labels))
    return min(len(np.unique(group_of[labels])), len(np.unique(group_of[~labels])))
