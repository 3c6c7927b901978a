"""Checks that every metric makes of its inputs."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike


def checked_labels(labels: ArrayLike) -> Bool[np.ndarray, "records"]:
    """Labels as booleans, true for high-stakes.

    Raises:
        ValueError: there are none, or one is neither 0 nor 1 (an ambiguous record has no place in a metric).
    """
    array = np.asarray(labels)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"labels have shape {array.shape}, expected [records] with at least one record")
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        first = int(np.flatnonzero(~np.isin(array, (0, 1)))[0])
        raise ValueError(f"label {first} is {array[first]!r}, expected 0 (low-stakes) or 1 (high-stakes)")
    return array.astype(np.bool_)


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
