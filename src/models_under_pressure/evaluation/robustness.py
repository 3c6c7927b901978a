"""What a change of the conversations does to a monitor: AUROC, and rates at its stored threshold, paired by record.

Intervals of changes are grouped bootstraps of both sides together (`evaluation.intervals`), so that what the two have
in common does not count as noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.special import stdtrit

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.intervals import (
    Estimate,
    clopper_pearson,
    evidence,
    logit_interval,
    percentile_interval,
    plan,
    replicate,
)

METRICS = ("auroc", "tpr", "fpr")


@dataclass(frozen=True, eq=False)
class Paired:
    """Logits of one monitor for the records of one dataset, as they are and after a change."""

    before: Float[np.ndarray, "records"]
    after: Float[np.ndarray, "records"]
    labels: Bool[np.ndarray, "records"]
    groups: Sequence[str]
    threshold: float
    """Logit from which the monitor flags; infinity where it flags nothing."""


@dataclass(frozen=True, eq=False)
class Effect:
    """Metrics after a change and how they moved, each with its replicates; of one dataset, or of several as a mean."""

    values: Mapping[str, float]
    replicates: Mapping[str, Float[np.ndarray, "resamples"]]
    positives: int
    """Groups that hold a positive: the trials of a true positive rate."""
    negatives: int

    def columns(self, confidence: float = 0.95) -> dict[str, float]:
        """Each metric and its change with the ends of their intervals, rounded to 4 places."""
        trials = {"auroc": min(self.positives, self.negatives), "tpr": self.positives, "fpr": self.negatives}
        found: dict[str, float] = {}
        for name in METRICS:
            value, spread = self.values[name], float(self.replicates[name].std())
            found |= logit_interval(value, spread, trials[name], confidence).columns(name)
            found |= self._change(f"{name}_change", trials[name], confidence).columns(f"{name}_change")
        return found

    def _change(self, name: str, trials: int, confidence: float) -> Estimate:
        value, replicates = self.values[name], self.replicates[name]
        if replicates.std() > 0:
            return percentile_interval(value, replicates, trials, confidence)
        # No record moved: the exact bound of 0 of so many trials says how many others might.
        reach = clopper_pearson(0, trials, confidence).high
        return Estimate(value, max(-1.0, value - reach), min(1.0, value + reach))


def effect(paired: Paired, generator: np.random.Generator, *, resamples: int) -> Effect:
    """Metrics of one dataset; a generator in the same state draws the same groups whatever the monitor and the change.

    Raises:
        ValueError: one class is missing, or the lists differ in length.
    """
    curves.checked_pair(paired.before, paired.labels)
    rankings = [curves.rank(*curves.checked_pair(one, paired.labels)) for one in (paired.before, paired.after)]
    flagged = [one >= paired.threshold for one in (paired.before, paired.after)]

    def statistic(weights: Num[np.ndarray, "resamples records"]) -> dict[str, Float[np.ndarray, "resamples"]]:
        sides: list[dict[str, np.ndarray]] = []
        for ranking, flags in zip(rankings, flagged, strict=True):
            sides.append(
                {
                    "auroc": curves.auroc(curves.count(ranking, weights)),
                    "tpr": _rate(weights, flags, paired.labels),
                    "fpr": _rate(weights, flags, ~paired.labels),
                }
            )
        before, after = sides
        return after | {f"{name}_change": after[name] - before[name] for name in METRICS}

    once = statistic(np.ones((1, len(paired.labels)), dtype=np.int64))
    drawn = replicate(statistic, plan(paired.labels, paired.groups), resamples, generator)
    return Effect({name: float(one[0]) for name, one in once.items()}, drawn, *evidence(paired.labels, paired.groups))


def mean_effect(parts: Sequence[Effect]) -> Effect:
    """The mean over datasets, each counting alike; they share no records, and each needs a generator of its own."""
    return Effect(
        values={name: float(np.mean([part.values[name] for part in parts])) for name in parts[0].values},
        replicates={name: np.mean([part.replicates[name] for part in parts], axis=0) for name in parts[0].replicates},
        positives=sum(part.positives for part in parts),
        negatives=sum(part.negatives for part in parts),
    )


def mean_of_draws(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean of independent draws with its t interval, within [0, 1].

    Raises:
        ValueError: there are fewer than two.
    """
    if len(values) < 2:
        raise ValueError("an interval over draws needs at least two")
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / np.sqrt(len(values))
    reach = -float(stdtrit(len(values) - 1, (1.0 - confidence) / 2.0)) * error
    return Estimate(mean, max(0.0, mean - reach), min(1.0, mean + reach))


def _rate(
    weights: Num[np.ndarray, "resamples records"],
    flags: Bool[np.ndarray, "records"],
    members: Bool[np.ndarray, "records"],
) -> Float[np.ndarray, "resamples"]:
    """Share of the members that are flagged, in each resample."""
    return (weights @ (flags & members)) / (weights @ members.astype(np.int64))
