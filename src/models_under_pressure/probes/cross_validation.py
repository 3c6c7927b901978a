"""Choosing the strength of a regularisation on the training data alone."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Int64

from models_under_pressure.core.errors import UserError
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
    splits = grouped_folds(vectors.labels, vectors.groups, FOLDS, seed)

    def score(candidate: float) -> float:
        found = []
        for train, test in splits:
            solution = solve(_rows(vectors, train), candidate)
            found.append(auroc(vectors.values[test] @ solution.projection[:, 0], vectors.labels[test]))
        return float(np.mean(found))

    return max(candidates, key=score)


def grouped_folds(
    labels: Bool[np.ndarray, "records"], groups: Sequence[str], folds: int, seed: int
) -> list[tuple[Int64[np.ndarray, "train"], Int64[np.ndarray, "test"]]]:
    """Cut records into folds that never split a group and hold the classes in about equal shares.

    Raises:
        UserError: there are too few groups for every fold to hold both classes.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count = len(set(groups))
    splits = []
    if count >= folds:
        splits = list(
            StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(np.empty(len(labels)), labels, groups)
        )
    if not splits or any(len(set(labels[part])) < 2 for split in splits for part in split):
        raise UserError(
            f"{len(labels)} records in {count} groups are too few for cross-validation in {folds} folds.",
            remedy="give more groups of both classes, or ask for no cross-validation or fewer folds.",
        )
    return splits


def _rows(vectors: RecordVectors, rows: np.ndarray) -> RecordVectors:
    return RecordVectors(vectors.values[rows], vectors.labels[rows], [vectors.groups[row] for row in rows])
