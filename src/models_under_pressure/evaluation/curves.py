"""Counts of true and false positives at every threshold, for one or many weightings of the records."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Ranking:
    """Records by falling score; equal scores share one threshold, so no metric depends on how ties are ordered."""

    order: Int[np.ndarray, "records"]
    positive: Bool[np.ndarray, "records"]
    """Whether the record is of the positive class, in rank order."""
    ends: Int[np.ndarray, "thresholds"]
    """Rank of the last record at or above each threshold."""
    thresholds: Float[np.ndarray, "thresholds"]
    """Distinct scores, falling."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Weighted positives and negatives at or above each threshold; leading axes are resamples."""

    tp: Num[np.ndarray, "*resamples thresholds"]
    fp: Num[np.ndarray, "*resamples thresholds"]

    @property
    def positives(self) -> Num[np.ndarray, "*resamples"]:
        """Total weight of the positives."""
        return self.tp[..., -1]

    @property
    def negatives(self) -> Num[np.ndarray, "*resamples"]:
        """Total weight of the negatives."""
        return self.fp[..., -1]


def rank(scores: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]) -> Ranking:
    """Sort records by falling score."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return Ranking(order, labels[order], ends, ranked[ends])


def count(ranking: Ranking, weights: Num[np.ndarray, "*resamples records"] | None = None) -> Counts:
    """Cumulate the weights of the records (one each when not given) over falling scores."""
    if weights is None:
        weights = np.ones(len(ranking.order), dtype=np.int64)
    ranked = weights[..., ranking.order]
    positive = ranked * ranking.positive
    tp = np.cumsum(positive, axis=-1, dtype=ranked.dtype)
    fp = np.cumsum(ranked, axis=-1, dtype=ranked.dtype) - tp
    if len(ranking.ends) == len(ranking.order):
        return Counts(tp, fp)
    return Counts(tp[..., ranking.ends], fp[..., ranking.ends])


def auroc(counts: Counts) -> Float[np.ndarray, "*resamples"]:
    """Area under the ROC curve: P(score of a positive > of a negative) + P(equal) / 2."""
    # Twice the area under the step from one threshold to the next is (new negatives) x (old + new positives).
    # Summed as floats: the products of 10^5 records overflow 32-bit integers.
    new_fp = counts.fp.astype(np.float64)
    new_fp[..., 1:] -= counts.fp[..., :-1]
    both_tp = counts.tp.astype(np.float64)
    both_tp[..., 1:] += counts.tp[..., :-1]
    twice = np.einsum("...k,...k->...", new_fp, both_tp)
    return twice / (2.0 * counts.positives * counts.negatives)


def auprc(counts: Counts) -> Float[np.ndarray, "*resamples"]:
    """Average precision: the mean over positives of the precision at their threshold, interpolated never."""
    new_tp = np.diff(counts.tp, axis=-1, prepend=0)
    flagged = counts.tp + counts.fp
    precision = counts.tp / np.maximum(flagged, 1e-12)
    return np.einsum("...k,...k->...", new_tp, precision) / counts.positives


def index_within_budget(counts: Counts, budget: float) -> Int[np.ndarray, "*resamples"]:
    """Number of thresholds whose false positive rate keeps the budget (0: only "flag nothing" keeps it)."""
    # The tolerance keeps a budget of 0.07 satisfied by 7 false positives of 100, which floats put above it.
    allowed = np.floor(budget * counts.negatives + 1e-9)
    return np.sum(counts.fp <= allowed[..., None], axis=-1)


def tpr_at_fpr(counts: Counts, budget: float) -> Float[np.ndarray, "*resamples"]:
    """Largest true positive rate of a threshold whose false positive rate is at most `budget`; never interpolated."""
    kept = index_within_budget(counts, budget)
    tp = np.take_along_axis(counts.tp, np.maximum(kept - 1, 0)[..., None], axis=-1)[..., 0]
    return np.where(kept > 0, tp, 0) / counts.positives


def checked_labels(labels: ArrayLike) -> Bool[np.ndarray, "records"]:
    """Labels as booleans, true for the positive class.

    Raises:
        ValueError: there are none, or one is neither 0 nor 1 (an ambiguous record has no place in a metric).
    """
    array = np.asarray(labels)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"labels have shape {array.shape}, expected [records] with at least one record")
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        first = int(np.flatnonzero(~np.isin(array, (0, 1)))[0])
        raise ValueError(f"label {first} is {array[first]!r}, expected 0 or 1")
    return array.astype(np.bool_)


def checked_pair(
    scores: ArrayLike, labels: ArrayLike
) -> tuple[Float[np.ndarray, "records"], Bool[np.ndarray, "records"]]:
    """Scores and labels that a ranking metric can be made of.

    Raises:
        ValueError: see `checked_scores`, `checked_labels` and `two_classes`.
    """
    checked = two_classes(checked_labels(labels))
    return checked_scores(scores, len(checked)), checked


def two_classes(labels: Bool[np.ndarray, "records"]) -> Bool[np.ndarray, "records"]:
    """The labels, given back when both classes are there.

    Raises:
        ValueError: one class is missing, so that no ranking metric is defined.
    """
    if labels.all() or not labels.any():
        raise ValueError(f"all {len(labels)} labels are {int(labels[0])}: a ranking metric needs both classes")
    return labels


def checked_scores(scores: ArrayLike, records: int) -> Float[np.ndarray, "records"]:
    """Scores as float64; infinities rank like any other value.

    Raises:
        ValueError: there are not `records` of them, or one is NaN.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (records,):
        raise ValueError(f"scores have shape {array.shape}, labels ({records},)")
    if np.isnan(array).any():
        raise ValueError(f"score {int(np.flatnonzero(np.isnan(array))[0])} is NaN")
    return array


def checked_probabilities(probabilities: ArrayLike, records: int) -> Float[np.ndarray, "records"]:
    """Probabilities as float64.

    Raises:
        ValueError: there are not `records` of them, or one is outside [0, 1] (a logit, say).
    """
    array = checked_scores(probabilities, records)
    outside = (array < 0) | (array > 1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise ValueError(f"probability {first} is {array[first]}: outside [0, 1]; is it a logit?")
    return array


def group_indices(groups: ArrayLike | None, records: int) -> np.ndarray:
    """Group number of each record, numbered by sorted name; each record is its own group when none are given.

    Raises:
        ValueError: there are not `records` of them.
    """
    if groups is None:
        return np.arange(records)
    array = np.asarray(groups)
    if array.shape != (records,):
        raise ValueError(f"groups have shape {array.shape}, labels ({records},)")
    return np.unique(array, return_inverse=True)[1]
