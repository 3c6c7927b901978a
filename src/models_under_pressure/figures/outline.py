"""Curves as few points as they need, so that a figure in git stays small."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from models_under_pressure.evaluation.scores import ScoreList

MOST = 150
"""Points of one curve; a panel is 200 pixels wide."""


def corners(x: Float[np.ndarray, "points"], y: Float[np.ndarray, "points"]) -> list[tuple[float, float]]:
    """The points where a curve turns, at most `MOST`, rounded to 4 places.

    Points that cannot be told apart at the resolution of `MOST` steps along the curve are thinned evenly by path
    length, never by rank: the steep start of a ROC curve, where the budget lies, keeps its corners.
    """
    x, y = np.round(x, 4), np.round(y, 4)
    before, after = np.diff(x)[:-1], np.diff(x)[1:]
    turns = before * np.diff(y)[1:] != after * np.diff(y)[:-1]
    keep = np.concatenate([[True], turns, [True]]) if len(x) > 2 else np.ones(len(x), dtype=bool)
    x, y = x[keep], y[keep]
    if len(x) > MOST:
        path = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        even = np.searchsorted(path, np.linspace(0.0, path[-1], MOST))
        chosen = np.unique(np.concatenate([[0], np.minimum(even, len(x) - 1), [len(x) - 1]]))
        x, y = x[chosen], y[chosen]
    return list(zip(x.tolist(), y.tolist(), strict=True))


def of_two_classes(lists: Iterable[ScoreList]) -> Iterator[ScoreList]:
    """The score lists for which a ranking curve is defined, the first seed of each probe."""
    seen: set[tuple[str, str]] = set()
    for scores in lists:
        key = (scores.dataset, scores.probe)
        if key not in seen and scores.labels.any() and not scores.labels.all():
            seen.add(key)
            yield scores


def counted(scores: ScoreList) -> dict[str, Any]:
    """What every row says of its score list."""
    return {
        "dataset": scores.dataset,
        "probe": scores.probe,
        "n": len(scores.ids),
        "positives": int(scores.labels.sum()),
    }
