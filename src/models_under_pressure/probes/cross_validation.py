"""Choosing the strength of a regularisation on the training data alone."""

from collections.abc import Callable, Sequence

import numpy as np

from models_under_pressure.errors import UserError
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.family import Linear, RecordVectors

FOLDS = 5


def best_by_cross_validation(
    solve: Callable[[RecordVectors, float], Linear], vectors: RecordVectors, candidates: Sequence[float], seed: int
) -> float:
    """The candidate whose solutions rank unseen groups best: mean AUROC over folds that never split a group.

    Raises:
        UserError: there are too few groups for every fold to hold both classes.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = len(set(vectors.groups))
    splits = []
    if groups >= FOLDS:
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        splits = list(folds.split(vectors.values, vectors.labels, vectors.groups))
    if not splits or any(len(set(vectors.labels[part])) < 2 for split in splits for part in split):
        raise UserError(
            f"{len(vectors.labels)} records in {groups} groups are too few for cross-validation in {FOLDS} folds.",
            remedy="give more groups of both classes, or name one value instead of `candidates`.",
        )

    def score(candidate: float) -> float:
        found = []
        for train, test in splits:
            solution = solve(_rows(vectors, train), candidate)
            found.append(auroc(vectors.values[test] @ solution.projection[:, 0], vectors.labels[test]))
        return float(np.mean(found))

    return max(candidates, key=score)


def _rows(vectors: RecordVectors, rows: np.ndarray) -> RecordVectors:
    return RecordVectors(vectors.values[rows], vectors.labels[rows], [vectors.groups[row] for row in rows])
