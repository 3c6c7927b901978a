"""Linear discriminant analysis on the mean token: two Gaussians with one covariance (Fisher 1936).

Formula: `w = S^-1 (mean(high) - mean(low))` with `S` the pooled within-class covariance of the standardised vectors,
and the bias that makes the logit the log-odds of the two Gaussians at the classes' training shares.

Regularisation: `S` shrunk towards a multiple of the identity; or a shrinkage chosen by grouped cross-validation.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from models_under_pressure.probes.family import (
    Exact,
    Family,
    FamilyConfig,
    Linear,
    MeanStream,
    RecordVectors,
    pool_mean,
)
from models_under_pressure.probes.logistic import best_by_cross_validation, fold, standardise


class Config(FamilyConfig):
    """Linear discriminant analysis on the mean token."""

    family: Literal["lda"] = "lda"
    shrinkage: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 0.5
    """0 is the covariance as it is, 1 a multiple of the identity; auto is Ledoit and Wolf 2004, too little under a
    shift of distribution."""
    candidates: tuple[float, ...] = ()
    """When given, the shrinkage is the one of these with the best grouped cross-validated AUROC."""


def solve(vectors: RecordVectors, config: Config, seed: int) -> Linear:
    """Solve with scikit-learn."""
    shrinkage = config.shrinkage
    if config.candidates:
        shrinkage = best_by_cross_validation(_solve, vectors, config.candidates, seed)
    return _solve(vectors, shrinkage)


def _solve(vectors: RecordVectors, shrinkage: float | Literal["auto"]) -> Linear:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    values, centre, scale = standardise(vectors.values)
    model: Any = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    model.fit(values, vectors.labels)
    return fold(model.coef_[0], float(model.intercept_[0]), centre, scale)


FAMILY = Family(config=Config, pool=pool_mean, stream=MeanStream, fitting=Exact(reduction="mean", solve=solve))
