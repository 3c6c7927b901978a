"""Differences of a metric between two score lists of the same records, and the correction for testing several."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtr, stdtrit

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.estimate import Difference, Estimate
from models_under_pressure.evaluation.inputs import checked_labels, checked_scores, two_classes
from models_under_pressure.evaluation.intervals import evidence
from models_under_pressure.evaluation.resampling import plan, replicate


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): keeps the chance of any false finding at the level the result is read at."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def paired_bootstrap(
    metric: Callable[[curves.Counts], Float[np.ndarray, "*resamples"]],
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    seed: int,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Difference:
    """Change of a ranking metric, both sides resampled together, so that what they share cancels.

    The interval and p-value are normal, with the bootstrap's standard deviation: `metric` is one of `curves`, such as
    `curves.auroc` or `functools.partial(curves.tpr_at_fpr, budget=0.01)`.

    Raises:
        ValueError: one class is missing, or the lists differ in length.
    """
    checked = two_classes(checked_labels(labels))
    first, second = (curves.rank(checked_scores(scores, len(checked)), checked) for scores in (before, after))
    value = float(metric(curves.count(second)) - metric(curves.count(first)))
    changes = replicate(
        lambda weights: {"change": metric(curves.count(second, weights)) - metric(curves.count(first, weights))},
        plan(checked, groups),
        resamples,
        np.random.default_rng(seed),
    )["change"]
    size = min(evidence(checked, groups))
    error = float(changes.std()) * float(np.sqrt(size / (size - 1))) if size > 1 else float("inf")
    return difference(value, error, confidence)


def difference(value: float, error: float, confidence: float = 0.95, *, freedom: float = 1e9) -> Difference:
    """A difference of two rates with its t interval, from its standard error and that error's degrees of freedom.

    An error of 0 is what equal scores give: then there is no doubt. An infinite one says that nothing is known.
    """
    if error == 0.0:
        return Difference(value, value, value, 0.0, 1.0 if value == 0.0 else 0.0)
    if np.isinf(error):
        return Difference(value, -1.0, 1.0, error, 1.0)
    reach = -float(stdtrit(freedom, (1.0 - confidence) / 2.0)) * error
    p_value = 2.0 * float(stdtr(freedom, -abs(value) / error))
    return Difference(value, max(-1.0, value - reach), min(1.0, value + reach), error, p_value)


def mean_difference(parts: Sequence[Difference], confidence: float = 0.95) -> Difference:
    """Mean of independent differences (datasets that share no records)."""
    value = float(np.mean([part.value for part in parts]))
    return difference(value, float(np.linalg.norm([part.error for part in parts])) / len(parts), confidence)


def unpaired_difference(
    before: Estimate, after: Estimate, confidence: float = 0.95, *, of_interval: float = 0.95
) -> Difference:
    """Difference of two estimates of which only the intervals are known, as if they were independent.

    Each end lies as far from the difference as the root of the summed squares of the distances that it takes from both
    intervals (Zou and Donner 2008, "MOVER"; Newcombe 1998, method 10): the variances are recovered from the ends, near
    the limits that matter, and the asymmetry of intervals near 1 is kept. The error, and with it the p-value, is that
    of the end on the side of no change. Estimates of the same records rise and fall together, so that the interval is
    wider than a paired one.

    Args:
        before: the earlier estimate.
        after: the later one.
        confidence: coverage of the interval of the difference.
        of_interval: coverage of the intervals given.
    """
    value = after.value - before.value
    quantile, wanted = (-float(ndtri((1.0 - level) / 2.0)) for level in (of_interval, confidence))
    down = float(np.hypot(after.value - after.low, before.high - before.value)) / quantile
    up = float(np.hypot(after.high - after.value, before.value - before.low)) / quantile
    found = difference(value, down if value > 0 else up, confidence)
    return replace(found, low=max(-1.0, value - wanted * down), high=min(1.0, value + wanted * up))
