"""Confidence intervals of a metric.

Which is used where was decided by the coverage of 95 % intervals in simulation (normal scores, 30 to 400 records a
class, tests/evaluation/test_coverage.py): rates whose sampling distribution is skewed near 1 (AUROC, AUPRC, accuracy)
take the logit interval, losses the percentiles, the biased calibration errors the pivot.

Bootstraps are grouped: whole groups are drawn with replacement, within strata of equal class make-up. Records of one
group (a pair of prompts, the conversations cut from one source row) share what they are about, so that drawing them one
by one would count one piece of evidence several times. Groups are stratified by the classes they hold (only
positive, only negative, both), and every stratum keeps its number of groups: the evaluation sets are balanced by
recipe, so that the class mix is a design choice and not a finding; and a resample that holds one class only, for which
no ranking metric is defined, cannot occur.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.special import betaincinv, expit, logit, ndtr, ndtri, stdtrit

from models_under_pressure.evaluation import curves
from models_under_pressure.evaluation.curves import checked_pair, group_indices

_CHUNK_CELLS = 30_000
"""Weights held at once (resamples x records): a chunk that stays in a processor's cache is twice as fast."""

Statistic = Callable[[Float[np.ndarray, "resamples records"]], Mapping[str, Float[np.ndarray, "resamples"]]]
"""Metrics of every weighting of the records."""


@dataclass(frozen=True, eq=False)
class ResamplingPlan:
    """How to resample a set of records."""

    group_of: Int[np.ndarray, "records"]
    strata: tuple[Int[np.ndarray, "groups"], ...]
    """Numbers of the groups drawn together."""

    @property
    def groups(self) -> int:
        """Number of groups."""
        return sum(len(stratum) for stratum in self.strata)


def plan(labels: Bool[np.ndarray, "records"], groups: ArrayLike | None = None) -> ResamplingPlan:
    """Stratify the groups (each record its own when not given) by the classes they hold."""
    group_of = group_indices(groups, len(labels))
    holds_high = np.bincount(group_of, weights=labels) > 0
    holds_low = np.bincount(group_of, weights=~labels) > 0
    kind = holds_high + 2 * holds_low
    return ResamplingPlan(group_of, tuple(np.flatnonzero(kind == value) for value in np.unique(kind)))


def draw(
    plan: ResamplingPlan, resamples: int, generator: np.random.Generator
) -> Iterator[Int[np.ndarray, "chunk records"]]:
    """Yield weights: how often each record occurs in each resample, a chunk of resamples at a time.

    The draws depend on the groups' names and classes, never on the order of the records or on any score.
    """
    records, groups = len(plan.group_of), plan.groups
    chunk = max(1, _CHUNK_CELLS // max(records, groups))
    alone = groups == records and np.array_equal(plan.group_of, np.arange(records))
    # One stream per stratum: the draws do not depend on how resamples are cut into chunks.
    streams = generator.spawn(len(plan.strata))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        counts = np.zeros((size, groups), dtype=np.int32)
        row = np.arange(size)[:, None]
        for stratum, stream in zip(plan.strata, streams, strict=True):
            drawn = stream.integers(0, len(stratum), size=(size, len(stratum)), dtype=np.int32)
            flat = np.bincount((row * len(stratum) + drawn).ravel(), minlength=size * len(stratum))
            counts[:, stratum] = flat.reshape(size, len(stratum))
        yield counts if alone else counts[:, plan.group_of]


def replicate(
    statistic: Statistic, plan: ResamplingPlan, resamples: int, generator: np.random.Generator
) -> dict[str, Float[np.ndarray, "resamples"]]:
    """The statistic's metrics on every resample."""
    parts = [statistic(weights) for weights in draw(plan, resamples, generator)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value and the ends of its confidence interval (95 % unless the caller says otherwise)."""

    value: float
    low: float
    high: float

    def columns(self, name: str, *ends: str) -> dict[str, float]:
        """The metric and its `ends` (by default `<name>_low` and `<name>_high`) in results, rounded to 4 places."""
        names = (name, *(ends or (f"{name}_low", f"{name}_high")))
        return {key: round(value, 4) for key, value in zip(names, (self.value, self.low, self.high), strict=True)}


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed (after minus before), its interval, standard error and two-sided p-value of no change."""

    value: float
    low: float
    high: float
    error: float
    p_value: float


def clopper_pearson(successes: float, trials: float, confidence: float = 0.95) -> Estimate:
    """Exact interval of a proportion (Clopper and Pearson 1934): covers at least at the nominal rate, at any n."""
    if trials <= 0:
        return Estimate(0.0, 0.0, 1.0)
    tail = (1.0 - confidence) / 2.0
    low = betaincinv(successes, trials - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, trials - successes, 1.0 - tail) if successes < trials else 1.0
    return Estimate(successes / trials, float(low), float(high))


def logit_interval(
    value: float, deviation: float, groups: int, confidence: float = 0.95, *, corrected: bool = False
) -> Estimate:
    """Interval of a rate: normal on the logit scale (Pepe 2003, section 5.2.4), so that it stays within [0, 1].

    `deviation` is the bootstrap's standard deviation, which n groups make too small by sqrt((n - 1) / n) unless
    `corrected`. At 0 or 1, where it vanishes although the truth may be elsewhere, the exact binomial interval of as
    many trials as there are groups stands in: among m positives and n negatives, all ranked right, are min(m, n)
    independent pairs, all ranked right. Fewer than two groups show nothing: the interval is [0, 1].
    """
    if groups < 2:
        return Estimate(value, 0.0, 1.0)
    if value <= 0.0 or value >= 1.0:
        return clopper_pearson(groups * value, groups, confidence)
    if not corrected:
        deviation *= np.sqrt(groups / (groups - 1))
    reach = -ndtri((1.0 - confidence) / 2.0) * deviation / (value * (1.0 - value))
    return Estimate(value, float(expit(logit(value) - reach)), float(expit(logit(value) + reach)))


def normal_reach(freedom: float, confidence: float = 0.95) -> float:
    """How much wider a t interval of that many degrees of freedom is than a normal one."""
    tail = (1.0 - confidence) / 2.0
    return float(stdtrit(freedom, tail) / ndtri(tail))


def percentile_interval(
    value: float, replicates: Float[np.ndarray, "resamples"], groups: int, confidence: float = 0.95
) -> Estimate:
    """Expanded percentile interval (Hesterberg 2015).

    A bootstrap of n groups is too narrow by sqrt((n - 1) / n) and knows nothing of the t distribution; wider
    percentiles mend both.
    """
    tail = (1.0 - confidence) / 2.0
    if groups > 1:
        tail = float(ndtr(np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, tail)))
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return Estimate(value, float(low), float(high))


def pivotal_interval(
    value: float, replicates: Float[np.ndarray, "resamples"], groups: int, confidence: float = 0.95
) -> Estimate:
    """Reflected percentiles (the basic bootstrap): for errors that noise inflates, such as ECE.

    The estimate itself and every resample of it are too high; reflection takes that out. The interval stays at or
    above 0 and always holds the estimate. It still covers less than promised (82 to 89 % in the simulation).
    """
    spread = percentile_interval(value, replicates, groups, confidence)
    return Estimate(value, min(value, max(0.0, 2 * value - spread.high)), max(value, 2 * value - spread.low))


def bootstrap_auroc(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    seed: int,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Estimate:
    """AUROC with its grouped bootstrap interval.

    Raises:
        ValueError: one class is missing.
    """
    values, checked = checked_pair(scores, labels)
    ranking = curves.rank(values, checked)
    replicates = replicate(
        lambda weights: {"auroc": curves.auroc(curves.count(ranking, weights))},
        plan(checked, groups),
        resamples,
        np.random.default_rng(seed),
    )
    value = float(curves.auroc(curves.count(ranking)))
    return logit_interval(value, float(replicates["auroc"].std()), min(evidence(checked, groups)), confidence)


def evidence(labels: Bool[np.ndarray, "records"], groups: ArrayLike | None) -> tuple[int, int]:
    """Number of groups that hold a positive, and that hold a negative: what a ranking metric's precision rests on."""
    group_of = group_indices(groups, len(labels))
    return len(np.unique(group_of[labels])), len(np.unique(group_of[~labels]))
