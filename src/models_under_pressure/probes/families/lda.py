"""Linear discriminant analysis on the mean token: two Gaussians with one covariance (Fisher 1936).

Formula: `w = S^-1 (mean(high) - mean(low))` with `S` the pooled within-class covariance of the standardised vectors,
and the bias that makes the logit the log-odds of the two Gaussians at the classes' training shares.

Regularisation: `S` shrunk towards a multiple of the identity; or a shrinkage chosen by grouped cross-validation.
"""

from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.family import Exact, Family, FamilyConfig, RecordVectors, Weights
from models_under_pressure.probes.logistic import best_by_cross_validation, fold, standardise
from models_under_pressure.probes.pooling import MeanStream, pool_mean


class Config(FamilyConfig):
    """Linear discriminant analysis on the mean token."""

    family: Literal["lda"] = "lda"
    shrinkage: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 0.5
    """0 is the covariance as it is, 1 a multiple of the identity; auto is Ledoit and Wolf 2004, too little under a
    shift of distribution."""
    candidates: tuple[float, ...] = ()
    """When given, the shrinkage is the one of these with the best grouped cross-validated AUROC."""


def solve(vectors: RecordVectors, config: Config, seed: int) -> Weights:
    """Solve with scikit-learn."""
    shrinkage = config.shrinkage
    if config.candidates:
        shrinkage = best_by_cross_validation(_solve, vectors, config.candidates, seed)
    return _solve(vectors, shrinkage)


def _solve(vectors: RecordVectors, shrinkage: float | Literal["auto"]) -> Weights:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    values, centre, scale = standardise(vectors)
    if vectors.weights is not None:
        return fold(*_weighted(values, vectors.labels, vectors.weights, shrinkage), centre, scale)
    model: Any = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    model.fit(values, vectors.labels)
    return fold(model.coef_[0], float(model.intercept_[0]), centre, scale)


def _weighted(
    values: Float[np.ndarray, "records hidden"],
    labels: Bool[np.ndarray, "records"],
    weights: Float[np.ndarray, "records"],
    shrinkage: float | Literal["auto"],
) -> tuple[Float[np.ndarray, "hidden"], float]:
    """What scikit-learn's solver does, which knows no weights; a record of weight 2 is that record twice.

    Raises:
        UserError: the shrinkage is `auto`, whose estimate is of records that count alike.
    """
    if shrinkage == "auto":
        remedy = "give a number, or `candidates` to choose from."
        raise UserError("`shrinkage: auto` of lda cannot weigh records.", where="train.probes", remedy=remedy)
    hidden = values.shape[1]
    covariance, means, shares = np.zeros((hidden, hidden)), list[np.ndarray](), list[float]()
    for own in (labels, ~labels):
        share = weights[own] / weights[own].sum()
        means.append(share @ values[own])
        centred = values[own] - means[-1]
        shares.append(float(weights[own].sum() / weights.sum()))
        covariance += shares[-1] * (centred.T @ (share[:, None] * centred))
    level = shrinkage * np.trace(covariance) / hidden
    shrunk = (1 - shrinkage) * covariance + level * np.eye(hidden)
    direction: np.ndarray = np.linalg.lstsq(shrunk, means[0] - means[1], rcond=None)[0]
    bias = -float(direction @ (means[0] + means[1])) / 2 + float(np.log(shares[0] / shares[1]))
    return direction, bias


FAMILY = Family(config=Config, pool=pool_mean, stream=MeanStream, fitting=Exact(reduction="mean", solve=solve))
