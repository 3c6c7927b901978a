"""DeLong's variance of AUROC, and of the difference of two on the same records; with groups, Obuchowski's.

DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997 for clustered records; mid-ranks make it O(n log n)
(Sun and Xu 2014).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from models_under_pressure.evaluation.differences import difference
from models_under_pressure.evaluation.estimate import Difference, Estimate
from models_under_pressure.evaluation.inputs import checked_labels, checked_scores, group_indices, two_classes
from models_under_pressure.evaluation.intervals import evidence, logit_interval, normal_reach


def delong(
    scores: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, *, confidence: float = 0.95
) -> Estimate:
    """AUROC with DeLong's interval, on the logit scale as the bootstrap's is.

    Raises:
        ValueError: one class is missing.
    """
    checked = two_classes(checked_labels(labels))
    placements = _placements(checked_scores(scores, len(checked)), checked)
    value = float(placements[checked].mean())
    deviation = _standard_error(placements, checked, group_indices(groups, len(checked)))
    return logit_interval(value, deviation, min(evidence(checked, groups)), confidence, corrected=True)


def delong_difference(
    before: ArrayLike, after: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, *, confidence: float = 0.95
) -> Difference:
    """Change of AUROC between two score lists of the same records, with its normal interval.

    Scores that rank the records alike differ by exactly 0 with p = 1.

    Raises:
        ValueError: one class is missing, or the lists differ in length.
    """
    checked = two_classes(checked_labels(labels))
    return averaged_difference([before], [after], checked, groups, confidence=confidence)


def averaged_auroc(
    seeds: Sequence[ArrayLike], labels: ArrayLike, groups: ArrayLike | None = None, *, confidence: float = 0.95
) -> Estimate:
    """Mean AUROC over training seeds (or repeats), on the same records.

    As in `averaged_difference`, the interval holds both sources of chance: which records were drawn, and which seeds.
    With one seed it is `delong`, and says nothing about another training.

    Raises:
        ValueError: one class is missing, or the lists differ in length.
    """
    checked = two_classes(checked_labels(labels))
    placements = np.stack([_placements(checked_scores(scores, len(checked)), checked) for scores in seeds])
    mean = placements.mean(axis=0)
    value = float(mean[checked].mean())
    records = _standard_error(mean, checked, group_indices(groups, len(checked))) ** 2
    variance, freedom = _joined(records, [placements[:, checked].mean(axis=1)])
    deviation = float(np.sqrt(variance)) * normal_reach(freedom, confidence)
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
    sides = [
        np.stack([_placements(checked_scores(scores, len(labels)), labels) for scores in side])
        for side in (before, after)
    ]
    change = sides[1].mean(axis=0) - sides[0].mean(axis=0)
    value = float(change[labels].mean())
    records = _standard_error(change, labels, group_indices(groups, len(labels))) ** 2
    variance, freedom = _joined(records, [side[:, labels].mean(axis=1) for side in sides])
    return difference(value, float(np.sqrt(variance)), confidence, freedom=freedom)


def _joined(records: float, sides: Sequence[Float[np.ndarray, "seeds"]]) -> tuple[float, float]:
    """Variance from the records and from the seeds of each side, and Welch and Satterthwaite's degrees of freedom."""
    parts = [(records, float("inf"))]
    for aurocs in sides:
        if len(aurocs) > 1:
            parts.append((float(aurocs.var(ddof=1)) / len(aurocs), len(aurocs) - 1.0))
    variance = sum(part for part, _ in parts)
    spent = sum(part**2 / freedom for part, freedom in parts if part)
    return variance, min(variance**2 / spent, 1e9) if 0.0 < spent < float("inf") else 1e9


def _placements(
    scores: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]
) -> Float[np.ndarray, "records"]:
    """Share of the other class that each record is ranked right against, ties counted half.

    The mean over either class is the AUROC.
    """
    everywhere = _midranks(scores)
    placements = np.empty(len(scores))
    for members, sign in ((labels, 1.0), (~labels, -1.0)):
        below = everywhere[members] - _midranks(scores[members])
        others = len(scores) - members.sum()
        placements[members] = below / others if sign > 0 else 1.0 - below / others
    return placements


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
    added, present = [], []
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
