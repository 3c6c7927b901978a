"""Logistic regression on one vector per record, solved to convergence."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from models_under_pressure.probes.family import FamilyConfig, Linear, RecordVectors

FOLDS = 5
"""Folds of the cross-validation that chooses the regularisation."""


class LogisticConfig(FamilyConfig):
    """Hyper-parameters of a logistic regression on standardised vectors (McKenzie et al. 2025, appendix A)."""

    inverse_regularisation: float = Field(default=1e-3, gt=0)
    """C of scikit-learn: the smaller, the stronger the penalty on the weights."""
    candidates: tuple[float, ...] = ()
    """When given, C is the one of these with the best grouped cross-validated AUROC."""
    fit_intercept: bool = False
    """Whether to fit an intercept; without one, the mean training vector has the probability 1/2."""


def logistic(vectors: RecordVectors, config: LogisticConfig, seed: int) -> Linear:
    """Standardise, solve, and fold the standardisation into the weights."""
    solve = partial(_solve, fit_intercept=config.fit_intercept)
    strength = config.inverse_regularisation
    if config.candidates:
        strength = best_by_cross_validation(solve, vectors, config.candidates, seed)
    return solve(vectors, strength)


def best_by_cross_validation(
    solve: Callable[[RecordVectors, float], Linear], vectors: RecordVectors, candidates: Sequence[float], seed: int
) -> float:
    """The candidate whose solutions rank unseen groups best: mean AUROC over folds that never split a group."""
    from sklearn.model_selection import StratifiedGroupKFold

    from models_under_pressure.evaluation.metrics import auroc

    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    splits = list(folds.split(vectors.values, vectors.labels, vectors.groups))

    def score(candidate: float) -> float:
        found = []
        for train, test in splits:
            solution = solve(_rows(vectors, train), candidate)
            found.append(auroc(vectors.values[test] @ solution.projection[:, 0], vectors.labels[test]))
        return float(np.mean(found))

    return max(candidates, key=score)


def _solve(vectors: RecordVectors, inverse_regularisation: float, *, fit_intercept: bool) -> Linear:
    from sklearn.linear_model import LogisticRegression

    values = np.asarray(vectors.values, dtype=np.float64)
    centre, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    model: Any = LogisticRegression(C=inverse_regularisation, fit_intercept=fit_intercept, tol=1e-6, max_iter=1000)
    model.fit((values - centre) / scale, vectors.labels)
    return fold(model.coef_[0], float(np.ravel(model.intercept_)[0]), centre, scale)


def fold(
    weights: Float[np.ndarray, "hidden"],
    bias: float,
    centre: Float[np.ndarray, "hidden"],
    scale: Float[np.ndarray, "hidden"],
) -> Linear:
    """Turn weights for `(x - centre) / scale` into weights for `x`."""
    projection = weights / scale
    return Linear(projection[:, None], np.array([bias - centre @ projection]))


def _rows(vectors: RecordVectors, rows: np.ndarray) -> RecordVectors:
    return RecordVectors(vectors.values[rows], vectors.labels[rows], [vectors.groups[row] for row in rows])


def mean_token_solution(vectors: RecordVectors) -> Linear:
    """Where gradient descent starts: the logistic regression on mean tokens with the default penalty."""
    return _solve(vectors, LogisticConfig(family="start").inverse_regularisation, fit_intercept=False)
