"""Every metric of one score list, with intervals, as flat numbers; and means of them over datasets."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Num
from numpy.typing import ArrayLike
from pydantic import Field

from models_under_pressure.core.files import Frozen
from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.curves import checked_labels, checked_probabilities, checked_scores
from models_under_pressure.evaluation.intervals import (
    Estimate,
    Statistic,
    evidence,
    logit_interval,
    percentile_interval,
    pivotal_interval,
    plan,
    replicate,
)
from models_under_pressure.evaluation.metrics import (
    EQUAL_MASS,
    EQUAL_WIDTH,
    bin_gaps,
    precision_from_rates,
    tpr_at_fpr_interval,
)
from models_under_pressure.evaluation.scores import ScoreList


class EvaluateConfig(Frozen):
    """How scores are measured."""

    fpr_budgets: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.01,), min_length=1)
    """False positive rates that a threshold must keep."""
    prevalence: float = Field(0.01, gt=0, lt=1)
    """Share of traffic of the positive class assumed for precision."""
    resamples: int = Field(10_000, ge=100)
    """Bootstrap resamples behind each interval."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """Coverage of the intervals."""
    bins: int = Field(10, ge=2)
    """Bins of the calibration errors."""
    groups: dict[str, tuple[str, ...]] = Field({})
    """Attribute by which metrics are broken down -> columns that can hold it; a record's first counts."""
    least_group: int = Field(10, ge=1)
    """Records that a value of an attribute needs for metrics of its own."""
    length_bins: int = Field(4, ge=2)
    """Bins of about equal number that records are parted into by length."""


Metrics = Mapping[str, Mapping[str, Mapping[str, float | int]]]
"""Dataset (or purpose) -> method -> metric, with interval ends."""
_RANKED = frozenset({"auroc", "auprc"})
_LOSSES = frozenset({"brier", "log_loss"})
_BIASED = frozenset({"ece", "adaptive_ece"})


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
    estimates = estimate_scores(scores, labels, groups, config=config, seed=seed, probabilities=probabilities)
    checked = checked_labels(labels)
    flat: dict[str, float | int] = {"n": len(checked), "positives": int(checked.sum())}
    for name, estimate in estimates.items():
        flat |= estimate.columns(name)
    return flat


def mean_costs(scores: ScoreList) -> dict[str, float | int]:
    """Mean `tokens` and `flops` of a record; what the method does not know is left out."""
    known = {"tokens": scores.tokens, "flops": scores.flops}
    return {name: round(float(cost.mean()), 1) for name, cost in known.items() if cost is not None}


def estimate_scores(
    scores: ArrayLike | None,
    labels: ArrayLike,
    groups: ArrayLike | None,
    *,
    config: EvaluateConfig,
    seed: int,
    probabilities: ArrayLike | None = None,
) -> dict[str, Estimate]:
    """`evaluate_scores` before it is flattened and rounded; without scores, what probabilities alone give."""
    checked = checked_labels(labels)
    statistic = _statistic(checked, scores, probabilities, config)
    point = {name: float(value[0]) for name, value in statistic(np.ones((1, len(checked)), dtype=np.int32)).items()}
    drawn = plan(checked, groups)
    replicates = replicate(statistic, drawn, config.resamples, np.random.default_rng(seed))
    rarer = min(evidence(checked, groups))
    found = {
        name: _interval(name, value, replicates[name], rarer if name in _RANKED else drawn.groups, config.confidence)
        for name, value in point.items()
    }
    if rarer and scores is not None:
        for budget in config.fpr_budgets:
            tpr = tpr_at_fpr_interval(scores, checked, budget, groups, confidence=config.confidence)
            ends = (precision_from_rates(rate, budget, config.prevalence) for rate in (tpr.value, tpr.low, tpr.high))
            found |= {f"tpr_at_{percent(budget)}_fpr": tpr, f"precision_at_{percent(budget)}_fpr": Estimate(*ends)}
    return found


def _interval(
    name: str, value: float, replicates: Float[np.ndarray, "resamples"], groups: int, confidence: float
) -> Estimate:
    if name in _LOSSES:
        return percentile_interval(value, replicates, groups, confidence)
    if name in _BIASED:
        return pivotal_interval(value, replicates, groups, confidence)
    return logit_interval(value, float(replicates.std()), groups, confidence)


def percent(rate: float) -> str:
    """A rate as part of a metric's name: 0.01 -> `1pct`, 0.001 -> `0_1pct` (a dot would split the name in DVC)."""
    return f"{100 * rate:g}pct".replace(".", "_")


def _statistic(
    labels: Bool[np.ndarray, "records"],
    scores: ArrayLike | None,
    probabilities: ArrayLike | None,
    config: EvaluateConfig,
) -> Statistic:
    """All metrics of many weightings of the records at once."""
    ranked = None if scores is None else curves.rank(checked_scores(scores, len(labels)), labels)
    ranking = ranked if labels.any() and not labels.all() else None
    losses: dict[str, np.ndarray] = {}
    gaps: dict[str, np.ndarray] = {}
    if probabilities is not None:
        checked = checked_probabilities(probabilities, len(labels))
        losses = _losses(checked, labels)
        gaps["ece"] = bin_gaps(checked, labels, config.bins, EQUAL_WIDTH)
        gaps["adaptive_ece"] = bin_gaps(checked, labels, config.bins, EQUAL_MASS)

    def statistic(weights: Num[np.ndarray, "resamples records"]) -> dict[str, Float[np.ndarray, "resamples"]]:
        found: dict[str, np.ndarray] = {}
        if ranking is not None:
            counts = curves.count(ranking, weights)
            found |= {"auroc": curves.auroc(counts), "auprc": curves.auprc(counts)}
        real = weights.astype(np.float64)
        total = real.sum(axis=1)
        found |= {name: real @ loss / total for name, loss in losses.items()}
        found |= {name: np.abs(real @ gap).sum(axis=1) / total for name, gap in gaps.items()}
        return found

    return statistic


def _losses(
    probabilities: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]
) -> dict[str, Float[np.ndarray, "records"]]:
    """What each record adds to a mean: 1 where 0.5 parts it right, squared error, negative log-likelihood in nats."""
    epsilon = np.finfo(np.float64).eps
    clipped = np.clip(probabilities, epsilon, 1.0 - epsilon)
    return {
        "accuracy": ((probabilities > 0.5) == labels).astype(np.float64),
        "brier": (probabilities - labels) ** 2,
        "log_loss": -np.where(labels, np.log(clipped), np.log1p(-clipped)),
    }


_COUNTS = ("datasets", "n", "positives")
_SHARES = ("tokens", "flops", "flops_per_token", "sent_on")
"""What has no interval, and is averaged too."""


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of independent estimates, with the interval recovered from theirs.

    Each end lies as far from the mean as the root of the summed squares of the parts' distances to theirs, over their
    number (Zou and Donner 2008, "MOVER"): it needs no variances and keeps the asymmetry of intervals near 1.
    """
    values, low, high = np.array([(one.value, one.low, one.high) for one in estimates]).T
    down, up = (float(np.sqrt(reach @ reach)) / len(values) for reach in (values - low, high - values))
    mean = float(values.mean())
    return Estimate(mean, mean - down, mean + up)


def mean_over_datasets(rows: Sequence[Mapping[str, float | int]]) -> dict[str, float | int]:
    """Mean of each metric that every dataset has, each dataset counting alike, from `evaluate_scores` of each.

    `datasets` is their number, `n` and `positives` are sums; costs (`tokens` and `flops` of a record) are means too.
    Datasets share no records, so that they are independent.

    Raises:
        ValueError: there are no datasets.
    """
    if not rows:
        raise ValueError("a mean over datasets needs at least one")
    flat: dict[str, float | int] = {
        "datasets": len(rows),
        "n": sum(int(row["n"]) for row in rows),
        "positives": sum(int(row["positives"]) for row in rows),
    }
    shared = {name for name in rows[0] if all(name in row for row in rows)}
    for name in sorted(name for name in shared if {f"{name}_low", f"{name}_high"} <= shared):
        parts = [Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"]) for row in rows]
        flat |= mean_estimate(parts).columns(name)
    return flat | {name: round(fmean(row[name] for row in rows), 4) for name in _SHARES if name in shared}


def means_by_purpose(evaluated: Metrics, purposes: Mapping[str, str]) -> dict[str, dict[str, dict[str, float | int]]]:
    """Purpose -> method -> `mean_over_datasets` of its datasets, from dataset -> method -> metric.

    A method that scored some datasets only has the mean of those; `datasets` tells their number.
    """
    rows: dict[str, dict[str, list[Mapping[str, float | int]]]] = {one: {} for one in sorted(set(purposes.values()))}
    for dataset, purpose in purposes.items():
        for method, row in evaluated.get(dataset, {}).items():
            rows[purpose].setdefault(method, []).append(row)
    return {one: {method: mean_over_datasets(own) for method, own in found.items()} for one, found in rows.items()}


def mean_over_seeds(rows: Sequence[Mapping[str, float | int]]) -> dict[str, float | int]:
    """Mean of each metric over training seeds; with several, `auroc_seed_sd` is the spread that no interval holds."""
    means: dict[str, float | int] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        means[name] = values[0] if len(set(values)) == 1 else round(fmean(values), 4)
    if len(rows) > 1 and "auroc" in means:
        means["auroc_seed_sd"] = round(stdev(row["auroc"] for row in rows), 4)
    return means


AT_STORED = re.compile(r"(?P<rate>fpr|tpr)_at_stored_(?P<percent>1|0_\d+)pct")
"""Rates at the stored thresholds that git keeps and pages show: those for at most 1 % of false positives."""


def headline(row: Mapping[str, float | int]) -> dict[str, float | int]:
    """What a reviewer compares of a mean: AUROC, TPR at each budget, and both rates at the stored thresholds."""
    compared = re.compile(rf"auroc|tpr_at_\w+_fpr|{AT_STORED.pattern}")
    return {name: value for name, value in row.items() if compared.fullmatch(name)}


def intervals(row: Mapping[str, float | int]) -> dict[str, float | int]:
    """What git keeps of a row beside the metrics: counts, and the ranking metrics with their intervals.

    Only metrics that depend on the order of scores: on another processor the others differ in their last places.
    """
    kept = re.compile(rf"auroc\w*|tpr_at_\w+_fpr(_low|_high)?|{AT_STORED.pattern}(_low|_high)?")
    return {name: value for name, value in row.items() if name in _COUNTS or kept.fullmatch(name)}


def known_intervals(
    evaluated: Metrics, purposes: Mapping[str, str], contents: Mapping[str, str]
) -> dict[str, dict[str, object]]:
    """Dataset -> `purpose`, `content` (hash of its file) and `methods` with their `intervals`, as git keeps them."""
    found: dict[str, dict[str, object]] = {}
    for name, methods in evaluated.items():
        kept = {method: intervals(row) for method, row in methods.items()}
        found[name] = {"purpose": purposes[name], "content": contents[name], "methods": kept}
    return found
