"""Confidence intervals of a metric.

Which is used where was decided by the coverage of 95 % intervals in simulation (normal scores, 30 to 400 records a
class, tests/evaluation/test_coverage.py): rates whose sampling distribution is skewed near 1 (AUROC, AUPRC, accuracy)
take the logit interval, losses the percentiles, the biased calibration errors the pivot.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.special import betaincinv, expit, logit, ndtr, ndtri, stdtrit

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.estimate import Estimate
from models_under_pressure.evaluation.inputs import checked_labels, checked_scores, group_indices, two_classes
from models_under_pressure.evaluation.resampling import plan, replicate


def clopper_pearson(successes: float, trials: float, confidence: float = 0.95) -> Estimate:
    """Exact interval of a proportion (Clopper and Pearson 1934): covers at least at the nominal rate, at any n."""
    if trials <= 0:
        return Estimate(0.0, 0.0, 1.0)
    tail = (1.0 - confidence) / 2.0
    low = betaincinv(successes, trials - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, trials - successes, 1.0 - tail) if successes < trials else 1.0
    return Estimate(successes / trials, float(low), float(high))


def logit_interval(
    value: float, deviation: float, groups: int, confidence: float = 0.95, *, corrected: bool = False
) -> Estimate:
    """Interval of a rate: normal on the logit scale (Pepe 2003, section 5.2.4), so that it stays within [0, 1].

    `deviation` is the bootstrap's standard deviation, which n groups make too small by sqrt((n - 1) / n) unless
    `corrected`. At 0 or 1, where it vanishes although the truth may be elsewhere, the exact binomial interval of as
    many trials as there are groups stands in: among m positives and n negatives, all ranked right, are min(m, n)
    independent pairs, all ranked right. Fewer than two groups show nothing: the interval is [0, 1].
    """
    if groups < 2:
        return Estimate(value, 0.0, 1.0)
    if value <= 0.0 or value >= 1.0:
        return clopper_pearson(groups * value, groups, confidence)
    if not corrected:
        deviation *= np.sqrt(groups / (groups - 1))
    reach = -ndtri((1.0 - confidence) / 2.0) * deviation / (value * (1.0 - value))
    return Estimate(value, float(expit(logit(value) - reach)), float(expit(logit(value) + reach)))


def normal_reach(freedom: float, confidence: float = 0.95) -> float:
    """How much wider a t interval of that many degrees of freedom is than a normal one."""
    tail = (1.0 - confidence) / 2.0
    return float(stdtrit(freedom, tail) / ndtri(tail))


def percentile_interval(
    value: float, replicates: Float[np.ndarray, "resamples"], groups: int, confidence: float = 0.95
) -> Estimate:
    """Expanded percentile interval (Hesterberg 2015).

    A bootstrap of n groups is too narrow by sqrt((n - 1) / n) and knows nothing of the t distribution; wider
    percentiles mend both.
    """
    tail = (1.0 - confidence) / 2.0
    if groups > 1:
        tail = float(ndtr(np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, tail)))
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return Estimate(value, float(low), float(high))


def pivotal_interval(
    value: float, replicates: Float[np.ndarray, "resamples"], groups: int, confidence: float = 0.95
) -> Estimate:
    """Reflected percentiles (the basic bootstrap): for errors that noise inflates, such as ECE.

    The estimate itself and every resample of it are too high; reflection takes that out. The interval stays at or
    above 0 and always holds the estimate. It still covers less than promised (82 to 89 % in the simulation).
    """
    spread = percentile_interval(value, replicates, groups, confidence)
    return Estimate(value, min(value, max(0.0, 2 * value - spread.high)), max(value, 2 * value - spread.low))


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
    replicates = replicate(
        lambda weights: {"auroc": curves.auroc(curves.count(ranking, weights))},
        plan(checked, groups),
        resamples,
        np.random.default_rng(seed),
    )
    value = float(curves.auroc(curves.count(ranking)))
    return logit_interval(value, float(replicates["auroc"].std()), min(evidence(checked, groups)), confidence)


def evidence(labels: Bool[np.ndarray, "records"], groups: ArrayLike | None) -> tuple[int, int]:
    """Number of groups that hold a positive, and that hold a negative: what a ranking metric's precision rests on."""
    group_of = group_indices(groups, len(labels))
    return len(np.unique(group_of[labels])), len(np.unique(group_of[~labels]))
