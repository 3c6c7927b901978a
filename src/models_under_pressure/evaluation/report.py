"""Every metric of one score list, with intervals, as the flat numbers of `metrics/evaluate.json`."""

import numpy as np
from jaxtyping import Bool, Float, Num
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.evaluation import curves, metrics
from models_under_pressure.evaluation.calibration import EQUAL_MASS, EQUAL_WIDTH, bin_gaps
from models_under_pressure.evaluation.inputs import checked_labels, checked_probabilities, checked_scores
from models_under_pressure.evaluation.intervals import evidence, percentile_interval
from models_under_pressure.evaluation.resampling import Statistic, plan, replicate


class EvaluateConfig(BaseModel):
    """How scores are measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fpr_budgets: tuple[float, ...] = Field((0.01,), description="False positive rates a threshold must keep.")
    prevalence: float = Field(0.01, gt=0, lt=1, description="Share of high-stakes traffic assumed for precision.")
    resamples: int = Field(2000, ge=100, description="Bootstrap resamples of each interval.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the intervals.")
    bins: int = Field(10, ge=2, description="Bins of the calibration errors.")


def evaluate_scores(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None,
    *,
    config: EvaluateConfig,
    seed: int,
    probabilities: ArrayLike | None = None,
) -> dict[str, float | int]:
    """Metrics with interval ends (`auroc`, `auroc_low`, `auroc_high`, …), `n` and `positives`; rounded to 4 places.

    Scores may be logits: they are only ranked. Accuracy (at 0.5) and calibration are given when probabilities are.
    Ranking metrics are left out when one class is missing, as `positives` (0 or `n`) then shows.

    Raises:
        ValueError: a score is NaN, a label is not 0 or 1, or a probability is outside [0, 1].
    """
    checked = checked_labels(labels)
    statistic = _statistic(checked, scores, probabilities, config)
    point = statistic(np.ones((1, len(checked)), dtype=np.int64))
    replicates = replicate(statistic, plan(checked, groups), config.resamples, np.random.default_rng(seed))
    flat: dict[str, float | int] = {"n": len(checked), "positives": int(checked.sum())}
    size = evidence(checked, groups)
    for name, value in point.items():
        estimate = percentile_interval(float(value[0]), replicates[name], size, config.confidence)
        flat |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {name: round(value, 4) for name, value in flat.items()}


def percent(rate: float) -> str:
    """A rate as part of a metric's name: 0.01 -> `1pct`, 0.001 -> `0_1pct` (a dot would split the name in DVC)."""
    return f"{100 * rate:g}pct".replace(".", "_")


def _statistic(
    labels: Bool[np.ndarray, "records"], scores: ArrayLike, probabilities: ArrayLike | None, config: EvaluateConfig
) -> Statistic:
    """All metrics of many weightings of the records at once."""
    ranking = curves.rank(checked_scores(scores, len(labels)), labels)
    both = bool(labels.any() and not labels.all())
    losses = {} if probabilities is None else _losses(checked_probabilities(probabilities, len(labels)), labels)
    gaps = {} if probabilities is None else _gaps(checked_probabilities(probabilities, len(labels)), labels, config)

    def statistic(weights: Num[np.ndarray, "resamples records"]) -> dict[str, Float[np.ndarray, "resamples"]]:
        found: dict[str, np.ndarray] = {}
        if both:
            counts = curves.count(ranking, weights)
            found |= {"auroc": curves.auroc(counts), "auprc": curves.auprc(counts)}
            for budget in config.fpr_budgets:
                tpr = curves.tpr_at_fpr(counts, budget)
                found[f"tpr_at_{percent(budget)}_fpr"] = tpr
                found[f"precision_at_{percent(budget)}_fpr"] = metrics.precision_from_rates(
                    tpr, budget, config.prevalence
                )
        real = weights.astype(np.float64)
        total = real.sum(axis=1)
        found |= {name: real @ loss / total for name, loss in losses.items()}
        found |= {name: np.abs(real @ gap).sum(axis=1) / total for name, gap in gaps.items()}
        return found

    return statistic


def _losses(
    probabilities: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]
) -> dict[str, Float[np.ndarray, "records"]]:
    return {
        "accuracy": metrics.correct(probabilities, labels, 0.5),
        "brier": metrics.squared_errors(probabilities, labels),
        "log_loss": metrics.log_losses(probabilities, labels),
    }


def _gaps(
    probabilities: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"], config: EvaluateConfig
) -> dict[str, Float[np.ndarray, "records bins"]]:
    return {
        "ece": bin_gaps(probabilities, labels, config.bins, EQUAL_WIDTH),
        "adaptive_ece": bin_gaps(probabilities, labels, config.bins, EQUAL_MASS),
    }
