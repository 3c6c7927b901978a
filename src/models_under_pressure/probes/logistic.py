"""Logistic regression on one vector per record, solved to convergence."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from pydantic import Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.family import FamilyConfig, RecordVectors, Weights

DEFAULT_C = 1e-3
"""Inverse strength of the penalty (McKenzie et al. 2025, appendix A)."""

_FOLDS = 5


class LogisticConfig(FamilyConfig):
    """Hyper-parameters of a logistic regression on standardised vectors."""

    inverse_regularisation: float = Field(default=DEFAULT_C, gt=0)
    """C of scikit-learn: the smaller, the stronger the penalty on the weights."""
    candidates: tuple[float, ...] = ()
    """When given, C is the one of these with the best grouped cross-validated AUROC."""
    fit_intercept: bool = False
    """Whether to fit an intercept; without one, the mean training vector has the probability 1/2."""


def solve_logistic(vectors: RecordVectors, config: LogisticConfig, seed: int) -> Weights:
    """Standardise, solve, and fold the standardisation into the weights."""
    solve = partial(_solve, fit_intercept=config.fit_intercept)
    strength = config.inverse_regularisation
    if config.candidates:
        strength = best_by_cross_validation(solve, vectors, config.candidates, seed)
    return solve(vectors, strength)


def mean_token_solution(vectors: RecordVectors) -> Weights:
    """Where gradient descent starts: the logistic regression with the default penalty."""
    return _solve(vectors, DEFAULT_C, fit_intercept=False)


def best_by_cross_validation(
    solve: Callable[[RecordVectors, float], Weights], vectors: RecordVectors, candidates: Sequence[float], seed: int
) -> float:
    """The candidate whose solutions rank unseen groups best: mean AUROC over folds that never split a group.

    Raises:
        UserError: there are too few groups for every fold to hold both classes.
    """
    from models_under_pressure.evaluation.metrics import auroc

    splits = grouped_folds(vectors.labels, vectors.groups, _FOLDS, seed)

    def score(candidate: float) -> float:
        found: list[float] = []
        for train, test in splits:
            solution = solve(vectors.only(train), candidate)
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
    splits: list[Any] = []
    if count >= folds:
        cut: Any = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        splits = list(cut.split(np.empty(len(labels)), labels, groups))
    if not splits or any(len(set(labels[part])) < 2 for split in splits for part in split):
        raise UserError(
            f"{len(labels)} records in {count} groups are too few for cross-validation in {folds} folds.",
            remedy="give more groups of both classes, or ask for no cross-validation or fewer folds.",
        )
    return splits


def standardise(
    vectors: RecordVectors,
) -> tuple[Float[np.ndarray, "records hidden"], Float[np.ndarray, "hidden"], Float[np.ndarray, "hidden"]]:
    """Values with mean 0 and deviation 1 in each feature (constant ones stay), their centre and their scale."""
    values = vectors.values
    if vectors.weights is None:
        centre, scale = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    else:
        shares = vectors.weights / vectors.weights.sum()
        centre = shares @ values
        scale = np.sqrt(shares @ (values - centre) ** 2)
    # A feature that only rounding moves is constant.
    scale = np.where(scale > 1e-7 * np.abs(centre), scale, 1.0)
    return (values - centre) / scale, centre, scale


def fold(
    weights: Float[np.ndarray, "hidden"],
    bias: float,
    centre: Float[np.ndarray, "hidden"],
    scale: Float[np.ndarray, "hidden"],
) -> Weights:
    """Turn weights for `(x - centre) / scale` into weights for `x`."""
    projection = weights / scale
    return Weights(projection[:, None], np.array([bias - centre @ projection]))


def _solve(vectors: RecordVectors, inverse_regularisation: float, *, fit_intercept: bool) -> Weights:
    from sklearn.linear_model import LogisticRegression

    values, centre, scale = standardise(vectors)
    model: Any = LogisticRegression(C=inverse_regularisation, fit_intercept=fit_intercept, tol=1e-6, max_iter=1000)
    model.fit(values, vectors.labels, sample_weight=vectors.weights)
    return fold(model.coef_[0], float(np.ravel(model.intercept_)[0]), centre, scale)
