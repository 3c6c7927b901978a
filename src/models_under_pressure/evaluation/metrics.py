"""Metrics of a monitor: scores and labels in, one number out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.special import bdtr

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.curves import (
    checked_labels,
    checked_pair,
    checked_probabilities,
    checked_scores,
)
from models_under_pressure.evaluation.intervals import Estimate, clopper_pearson, evidence

Binning = Literal["equal width", "equal mass"]

EQUAL_WIDTH: Binning = "equal width"
EQUAL_MASS: Binning = "equal mass"
"""Bins of about as many records each (Nguyen and O'Connor 2015)."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One point of a reliability diagram."""

    n: int
    positives: int
    forecast: float
    """Mean probability of the bin's records."""
    observed: Estimate
    """Share of them that are of the positive class, with its exact interval, records taken as independent."""

    def columns(self) -> dict[str, float]:
        """The point in results, rounded to 4 places: `forecast`, `observed`, and its interval from `low` to `high`."""
        return {"forecast": round(self.forecast, 4)} | self.observed.columns("observed", "low", "high")


def bin_of(
    probabilities: Float[np.ndarray, "records"], bins: int, binning: Binning = EQUAL_WIDTH
) -> tuple[Int[np.ndarray, "records"], Float[np.ndarray, "edges"]]:
    """Bin of each record and the bins' edges; 1.0 falls into the last bin, equal values into one bin."""
    if binning == EQUAL_WIDTH:
        edges = np.linspace(0.0, 1.0, bins + 1)
    else:
        edges = np.unique(np.quantile(probabilities, np.linspace(0.0, 1.0, bins + 1)))
    inner = edges[1:-1]
    return np.searchsorted(inner, probabilities, side="right"), edges


def bin_gaps(
    probabilities: Float[np.ndarray, "records"],
    labels: Bool[np.ndarray, "records"],
    bins: int,
    binning: Binning = EQUAL_WIDTH,
) -> Float[np.ndarray, "records bins"]:
    """Label minus probability, in the column of the record's bin: |column sums| over n add up to the ECE."""
    index, edges = bin_of(probabilities, bins, binning)
    gaps = np.zeros((len(labels), max(len(edges) - 1, 1)))
    gaps[np.arange(len(labels)), index] = labels - probabilities
    return gaps


def reliability(
    probabilities: Float[np.ndarray, "records"],
    labels: Bool[np.ndarray, "records"],
    bins: int = 10,
    binning: Binning = EQUAL_WIDTH,
    confidence: float = 0.95,
) -> list[ReliabilityBin]:
    """The bins that hold records, by rising probability."""
    index, _ = bin_of(probabilities, bins, binning)
    found: list[ReliabilityBin] = []
    for number in np.unique(index):
        inside = index == number
        size, positives = int(inside.sum()), int(labels[inside].sum())
        forecast = float(probabilities[inside].mean())
        found.append(ReliabilityBin(size, positives, forecast, clopper_pearson(positives, size, confidence)))
    return found


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve, ties counted half.

    Raises:
        ValueError: one class is missing.
    """
    return float(curves.auroc(_counts(scores, labels)))


def tpr_at_fpr(scores: ArrayLike, labels: ArrayLike, budget: float = 0.01) -> float:
    """Largest true positive rate of any threshold whose false positive rate is at most `budget`.

    The nearest-point rule (the ROC point whose false positive rate is nearest to the budget) returns 0 with
    fewer than 1 / (2 x budget) negatives, and overshoots the budget elsewhere.

    Raises:
        ValueError: one class is missing.
    """
    return float(curves.tpr_at_fpr(_counts(scores, labels), budget))


def threshold_at_fpr(scores: ArrayLike, labels: ArrayLike, budget: float = 0.01) -> float:
    """The threshold of `tpr_at_fpr`: flag scores >= it; infinity when only flagging nothing keeps the budget.

    Raises:
        ValueError: one class is missing.
    """
    ranking = curves.rank(*checked_pair(scores, labels))
    kept = int(curves.index_within_budget(curves.count(ranking), budget))
    return float(ranking.thresholds[kept - 1]) if kept else float("inf")


def precision_from_rates(tpr: float, fpr: float, prevalence: float) -> float:
    """Share of alerts that are right with these rates, were a share `prevalence` of traffic positive (Bayes).

    0 when nothing is flagged. Metrics give the budget as `fpr`, as if it were spent in full: the observed rate, 0 of 40
    negatives say, would promise a precision of 1 that no such set can show.
    """
    right = prevalence * tpr
    return right / max(right + (1.0 - prevalence) * fpr, 1e-12)


def accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float = 0.5) -> float:
    """Share of records on the right side of the threshold (a score above it says the positive class)."""
    checked = checked_labels(labels)
    right = (checked_scores(scores, len(checked)) > threshold) == checked
    return float(right.mean())


def ece(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: over bins of equal width, |observed - forecast| weighted by the bin's records.

    Naeini, Cooper and Hauskrecht 2015.
    """
    checked = checked_labels(labels)
    gaps = bin_gaps(checked_probabilities(probabilities, len(checked)), checked, bins)
    return float(np.abs(gaps.sum(axis=0)).sum() / len(checked))


def _counts(scores: ArrayLike, labels: ArrayLike) -> curves.Counts:
    return curves.count(curves.rank(*checked_pair(scores, labels)))


def tpr_at_fpr_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    budget: float,
    groups: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """`tpr_at_fpr` with an interval for the TPR of the threshold whose true false positive rate is the budget.

    The bootstrap cannot give it: the threshold hangs on the top `budget` x n of n negatives, and 1 % of 43 is none
    (95 % percentile intervals then cover 64 %). But the number of negatives above the true threshold is
    Binomial(n, budget), which holds the threshold between two order statistics of the negatives; exact intervals of
    the TPR at those two finish the bound. Each of the four tails gets a quarter of the error, so that the interval
    covers at least at the nominal rate whatever the distribution of scores. Fewer than 437 negatives cannot bound the
    TPR at 1 % from below (0.99^437 < 0.0125), and the interval says so: it starts at 0.

    With groups, the trials are as many as the groups that hold the class.

    Raises:
        ValueError: one class is missing.
    """
    checked = checked_pair(scores, labels)
    counts = curves.count(curves.rank(*checked))
    positives, negatives = evidence(checked[1], groups)
    tail = (1.0 - confidence) / 4.0
    chance = bdtr(np.arange(negatives + 1), negatives, budget)
    strict, lax = int(np.sum(chance <= tail)) - 1, int(np.sum(chance < 1.0 - tail))

    def exact(alarms: int) -> Estimate:
        """The TPR of the threshold with so many alarms among the negatives."""
        tpr = float(curves.tpr_at_fpr(counts, alarms / negatives))
        return clopper_pearson(tpr * positives, positives, 1.0 - 2.0 * tail)

    low = exact(strict).low if strict >= 0 else 0.0
    return Estimate(float(curves.tpr_at_fpr(counts, budget)), low, exact(lax).high)
