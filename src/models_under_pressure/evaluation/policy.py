"""Two-stage policies: a monitor reads everything, a judge reads the conversations near the monitor's threshold.

The judge has the last word between two logits of the monitor; above them a conversation is flagged without it, below
them it is not. What a policy costs is expected on traffic of a stated share of high-stakes conversations, because the
datasets that it is measured on are balanced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

from models_under_pressure.evaluation.intervals import (
    Estimate,
    evidence,
    logit_interval,
    percentile_interval,
    plan,
    replicate,
)

MOST = 48
"""Candidates on each side of the threshold: with more records, quantiles of their logits."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is flagged: logits >= `high`; and from `low` on, where the judge's logit is >= `judge`."""

    low: float
    """Monitor's logit from which the judge reads a conversation."""
    high: float
    """Monitor's logit from which a conversation is flagged without the judge; infinity where it always has a say."""
    judge: float
    """Judge's logit from which it flags; infinity where it clears all that it reads."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Scores and costs of a monitor and a judge for the same conversations."""

    first: Float[np.ndarray, "records"]
    """The monitor's logits."""
    second: Float[np.ndarray, "records"]
    """The judge's."""
    first_cost: Float[np.ndarray, "records"]
    """What the monitor costs on a conversation, in any unit."""
    second_cost: Float[np.ndarray, "records"]
    labels: Bool[np.ndarray, "records"]
    groups: Sequence[str]

    def judged(self, policy: Policy) -> Bool[np.ndarray, "records"]:
        """Which conversations the judge reads."""
        return (self.first >= policy.low) & (self.first < policy.high)

    def flagged(self, policy: Policy) -> Bool[np.ndarray, "records"]:
        """Which conversations the two flag together."""
        return (self.first >= policy.high) | (self.judged(policy) & (self.second >= policy.judge))

    def cost(self, policy: Policy) -> Float[np.ndarray, "records"]:
        """Cost of each conversation."""
        return self.first_cost + np.where(self.judged(policy), self.second_cost, 0.0)

    def weights(self, prevalence: float) -> Float[np.ndarray, "records"]:
        """Share of traffic that each conversation stands for, where `prevalence` of it is high-stakes; sums to 1."""
        positives = int(self.labels.sum())
        share = prevalence / positives, (1.0 - prevalence) / (len(self.labels) - positives)
        return np.where(self.labels, *share)


def alone(threshold: float) -> Policy:
    """The monitor by itself."""
    return Policy(threshold, threshold, float("inf"))


def choose(found: Evidence, *, threshold: float, budget: float, prevalence: float, most: int = MOST) -> Policy | None:
    """The best policy around a threshold: the highest TPR among those that keep the budget and the monitor's FPR.

    Candidates read from any logit at or below the threshold to any at or above it; the judge's threshold is the one
    that is best for each. Of equal TPR the lower FPR is taken, then the lower cost. The FPR to keep is the monitor's
    own at its threshold on these records. `alone(threshold)` is a candidate.

    Args:
        found: scores and costs.
        threshold: the monitor's stored threshold.
        budget: highest expected cost of a conversation, in the unit of the costs.
        prevalence: share of high-stakes traffic.
        most: candidates on either side of the threshold.

    Returns:
        None if even the monitor alone costs more.
    """
    weights = found.weights(prevalence)
    start = float(weights @ found.first_cost)
    if start > budget:
        return None
    allowed = int((~found.labels & (found.first >= threshold)).sum())
    best: tuple[tuple[float, float, float], Policy] | None = None
    lows = [*_candidates(found.first[found.first < threshold], most), threshold]
    highs = [threshold, *_candidates(found.first[found.first > threshold], most), float("inf")]
    for low in lows:
        for high in highs:
            read = (found.first >= low) & (found.first < high)
            cost = start + float(weights[read] @ found.second_cost[read])
            if cost > budget * (1 + 1e-12):
                continue
            sure = found.first >= high
            right, wrong = int((sure & found.labels).sum()), int((sure & ~found.labels).sum())
            judge, more_right, more_wrong = _best_judge(found.second[read], found.labels[read], allowed - wrong)
            key = (right + more_right, -(wrong + more_wrong), -cost)
            if best is None or key > best[0]:
                best = key, Policy(low, high, judge)
    return None if best is None else best[1]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a policy does on some conversations."""

    tpr: Estimate
    fpr: Estimate
    cost: Estimate
    """Expected cost of a conversation."""
    judged: float
    """Expected share of the conversations that the judge reads."""


def measure(
    found: Evidence,
    policy: Policy,
    generator: np.random.Generator,
    *,
    prevalence: float,
    resamples: int,
    confidence: float = 0.95,
) -> Measured:
    """Rates and expected cost of a policy, with grouped bootstrap intervals; at 0 and 1, exact ones by groups."""
    flags, cost, high = found.flagged(policy), found.cost(policy), found.labels.astype(np.int64)

    def mean(drawn: Num[np.ndarray, "resamples records"], values: np.ndarray, members: np.ndarray) -> np.ndarray:
        return (drawn @ (values * members)) / (drawn @ members)

    def statistic(drawn: Num[np.ndarray, "resamples records"]) -> dict[str, Float[np.ndarray, "resamples"]]:
        costs = [mean(drawn, cost, members) for members in (high, 1 - high)]
        return {
            "tpr": mean(drawn, flags, high),
            "fpr": mean(drawn, flags, 1 - high),
            "cost": prevalence * costs[0] + (1.0 - prevalence) * costs[1],
        }

    values = {name: float(one[0]) for name, one in statistic(np.ones((1, len(high)), dtype=np.int64)).items()}
    drawn = replicate(statistic, plan(found.labels, found.groups), resamples, generator)
    positives, negatives = evidence(found.labels, found.groups)
    return Measured(
        logit_interval(values["tpr"], float(drawn["tpr"].std()), positives, confidence),
        logit_interval(values["fpr"], float(drawn["fpr"].std()), negatives, confidence),
        percentile_interval(values["cost"], drawn["cost"], min(positives, negatives), confidence),
        float(found.weights(prevalence) @ found.judged(policy)),
    )


def _candidates(logits: Float[np.ndarray, "records"], most: int) -> list[float]:
    """Distinct logits to cut at; quantiles where there are more than `most`."""
    values: list[float] = np.unique(logits).tolist()
    if len(values) <= most:
        return values
    places: list[float] = np.linspace(0, len(values) - 1, most).round().tolist()
    return [values[int(place)] for place in dict.fromkeys(places)]


def _best_judge(
    logits: Float[np.ndarray, "judged"], labels: Bool[np.ndarray, "judged"], allowed: int
) -> tuple[float, int, int]:
    """The judge's threshold with the most right flags and at most so many wrong ones; its right and wrong flags.

    Of equally many right flags, the one with the fewest wrong ones; equal logits are flagged together.
    """
    if not len(logits):
        return float("inf"), 0, 0
    order = np.argsort(-logits, kind="stable")
    ranked = logits[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    right, wrong = np.cumsum(labels[order])[ends], np.cumsum(~labels[order])[ends]
    kept = int(np.count_nonzero(wrong <= allowed))
    if not kept or right[kept - 1] == 0:
        return float("inf"), 0, 0
    place = int(np.count_nonzero(right[:kept] < right[kept - 1]))
    return float(ranked[ends[place]]), int(right[place]), int(wrong[place])
