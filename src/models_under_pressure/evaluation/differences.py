"""Differences of a metric between two score lists of the same records, and the correction for testing several.

DeLong's variance of AUROC: DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997 for clustered records; mid-ranks
make it O(n log n) (Sun and Xu 2014).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtr, stdtrit

from models_under_pressure.evaluation.curves import checked_labels, checked_scores, group_indices, two_classes
from models_under_pressure.evaluation.intervals import Difference, Estimate, evidence, logit_interval, normal_reach


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): keeps the chance of any false finding at the level the result is read at."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


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


def delong(
    scores: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, *, confidence: float = 0.95
) -> Estimate:
    """AUROC with DeLong's interval, on the logit scale as the bootstrap's is: `averaged_auroc` of one seed."""
    return averaged_auroc([scores], labels, groups, confidence=confidence)


def averaged_auroc(
    seeds: Sequence[ArrayLike], labels: ArrayLike, groups: ArrayLike | None = None, *, confidence: float = 0.95
) -> Estimate:
    """Mean AUROC over training seeds (or repeats), on the same records.

    As in `averaged_difference`, the interval holds both sources of chance: which records were drawn, and which seeds.
    With one seed it says nothing about another training.

    Raises:
        ValueError: one class is missing, or the lists differ in length.
    """
    checked = two_classes(checked_labels(labels))
    value, error, freedom = _averaged([seeds], checked, groups)
    deviation = error * normal_reach(freedom, confidence)
    return logit_interval(value, deviation, min(evidence(checked, groups)), confidence, corrected=True)


def averaged_difference(
    before: Sequence[ArrayLike],
    after: Sequence[ArrayLike],
    labels: Bool[np.ndarray, "records"],
    groups: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> Difference:
    """Change of the mean AUROC over training seeds, on the same records.

    Two sources of chance add up: which records were drawn (DeLong's variance of the mean placements) and, where a side
    has several seeds, which seeds were (their sample variance over their number). Welch and Satterthwaite's degrees of
    freedom join them. With one seed a side, the finding is about these trained probes, not about their recipe.

    Raises:
        ValueError: one class is missing, or the lists differ in length.
    """
    value, error, freedom = _averaged([before, after], labels, groups)
    return difference(value, error, confidence, freedom=freedom)


def _averaged(
    sides: Sequence[Sequence[ArrayLike]], labels: Bool[np.ndarray, "records"], groups: ArrayLike | None
) -> tuple[float, float, float]:
    """Mean AUROC over the seeds of a side, or how it differs between two; its standard error; degrees of freedom."""
    placed = [np.stack([_placements(checked_scores(one, len(labels)), labels) for one in side]) for side in sides]
    mean = placed[-1].mean(axis=0) - (placed[0].mean(axis=0) if len(placed) > 1 else 0.0)
    parts = [(_standard_error(mean, labels, group_indices(groups, len(labels))) ** 2, float("inf"))]
    for aurocs in (side[:, labels].mean(axis=1) for side in placed):
        if len(aurocs) > 1:
            parts.append((float(aurocs.var(ddof=1)) / len(aurocs), len(aurocs) - 1.0))
    variance = sum(part for part, _ in parts)
    spent = sum(part**2 / freedom for part, freedom in parts if part)
    freedom = min(variance**2 / spent, 1e9) if 0.0 < spent < float("inf") else 1e9
    return float(mean[labels].mean()), float(np.sqrt(variance)), freedom


def _placements(
    scores: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]
) -> Float[np.ndarray, "records"]:
    """Share of the other class that each record is ranked right against, ties counted half.

    The mean over either class is the AUROC.
    """
    everywhere = _midranks(scores)
    placements = np.empty(len(scores))
    for members in (labels, ~labels):
        placements[members] = (everywhere[members] - _midranks(scores[members])) / (~members).sum()
    return np.where(labels, placements, 1.0 - placements)


def _midranks(values: Float[np.ndarray, "values"]) -> Float[np.ndarray, "values"]:
    """Rank from 1; equal values share their mean rank."""
    _, inverse, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return (last - (sizes - 1) / 2.0)[inverse]


def _standard_error(
    placements: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"], group_of: np.ndarray
) -> float:
    """Standard error of the mean placement: sum of squares of what each group adds (Obuchowski's equations 2 to 5)."""
    groups = int(group_of.max()) + 1
    added: list[Float[np.ndarray, groups]] = []
    present: list[int] = []
    for members in (labels, ~labels):
        centred = placements[members] - placements[members].mean()
        added.append(np.bincount(group_of[members], weights=centred, minlength=groups) / members.sum())
        present.append(len(np.unique(group_of[members])))
    high, low = added
    if min(present) < 2:
        return float("inf")
    i10, i01 = (size / (size - 1) for size in present)
    both = groups / (groups - 1)
    variance = i10 * high @ high + i01 * low @ low + 2.0 * both * high @ low
    return float(np.sqrt(max(variance, 0.0)))
