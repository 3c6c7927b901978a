"""Whether new traffic is still like that from which a probe's thresholds come: scores, flags and activations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import bdtr

from models_under_pressure.evaluation.differences import holm
from models_under_pressure.evaluation.intervals import Estimate, clopper_pearson

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PERMUTATIONS = 999
MOST = 1000
"""Conversations of a side that activations are compared of; of more, so many are drawn."""


@dataclass(frozen=True, eq=False)
class Traffic:
    """What a probe makes of some conversations."""

    logits: Float[np.ndarray, "conversations"]
    means: Float[np.ndarray, "conversations hidden"]
    """Mean activation of the tokens that the probe sees."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A stored threshold."""

    budget: float
    logit: float | None
    most: float
    """False positive rate that it promises."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of the new traffic with the control set."""

    name: str
    value: float
    p_value: float
    """Chance of a value as large, were the new traffic like the control set."""
    alarm: bool
    """Whether that holds at the level asked for, by Holm's correction over all checks."""
    low: float | None = None
    high: float | None = None
    """Ends of the exact interval of a flag rate."""
    promised: float | None = None


@dataclass(frozen=True)
class Drift:
    """All that was compared."""

    sizes: Mapping[str, int]
    """`new`, `control`, `training` -> conversations."""
    quantiles: Mapping[str, tuple[float, ...]]
    """Side -> logits at `QUANTILES`."""
    checks: Sequence[Check]
    distances: Mapping[str, float]
    """Pair of sides -> energy coefficient of their activations, from 0 (alike) to 1."""

    @property
    def alarm(self) -> bool:
        """Whether any check rings."""
        return any(check.alarm for check in self.checks)


def compare_traffic(
    new: Traffic,
    control: Traffic,
    training: Traffic | None,
    promises: Sequence[Promise],
    *,
    alpha: float,
    confidence: float,
    seed: int,
) -> Drift:
    """Compare new traffic with the control set, and tell how far both are from the training prompts.

    Alarms hold at level `alpha` together (Holm): the chance of any false alarm, were the new conversations drawn as the
    control set was, is at most `alpha`. The training prompts are pairs that nobody's traffic is like, and ring none.

    Args:
        new: conversations to judge.
        control: the control set.
        training: the training prompts where they are at hand.
        promises: stored thresholds.
        alpha: chance of a false alarm.
        confidence: coverage of the intervals of flag rates.
        seed: seed of the permutations, and of the draw from more than `MOST` conversations.
    """
    sides = {"new": new, "control": control} | ({} if training is None else {"training": training})
    generator = np.random.default_rng(seed)
    drawn = {name: _some(side.means, generator) for name, side in sides.items()}
    distance, chance = energy_test(drawn["new"], drawn["control"], generator)
    found = [_flags(new.logits, promise, confidence) for promise in promises]
    apart: Any = import_module("scipy.stats").ks_2samp(new.logits, control.logits)
    found.append(Check("scores", float(apart.statistic), float(apart.pvalue), alarm=False))
    found.append(Check("activations", distance, chance, alarm=False))
    rings = [adjusted <= alpha for adjusted in holm([check.p_value for check in found])]
    pairs = [("new", "training"), ("control", "training")] if training is not None else []
    return Drift(
        sizes={name: len(side.logits) for name, side in sides.items()},
        quantiles={name: tuple(np.quantile(side.logits, QUANTILES).tolist()) for name, side in sides.items()},
        checks=[_ringing(check, ring) for check, ring in zip(found, rings, strict=True)],
        distances={f"{a} to {b}": energy_coefficient(drawn[a], drawn[b]) for a, b in pairs},
    )


def _flags(logits: Float[np.ndarray, "conversations"], promise: Promise, confidence: float) -> Check:
    """Flag rate against the promised rate: binomial, one-sided, because fewer flags break no promise."""
    flagged = 0 if promise.logit is None else int((logits >= promise.logit).sum())
    rate: Estimate = clopper_pearson(flagged, len(logits), confidence)
    chance = 1.0 - float(bdtr(flagged - 1, len(logits), promise.most)) if flagged else 1.0
    name = f"flags at {100 * promise.budget:g} %"
    return Check(name, rate.value, chance, alarm=False, low=rate.low, high=rate.high, promised=promise.most)


def _ringing(check: Check, ring: bool) -> Check:
    return Check(check.name, check.value, check.p_value, ring, check.low, check.high, check.promised)


def energy_coefficient(new: Float[np.ndarray, "new hidden"], reference: Float[np.ndarray, "reference hidden"]) -> float:
    """(2 E|X - Y| - E|X - X'| - E|Y - Y'|) / 2 E|X - Y| (Szekely and Rizzo 2013), from 0 (equal) to 1."""
    distances, is_new = _distances(new, reference)
    return float(_coefficients(distances, is_new[None].astype(np.float64))[0])


def energy_test(
    new: Float[np.ndarray, "new hidden"],
    reference: Float[np.ndarray, "reference hidden"],
    generator: np.random.Generator,
) -> tuple[float, float]:
    """`energy_coefficient`, and the share of `PERMUTATIONS` of the sides that reach it: exact at any size."""
    distances, is_new = _distances(new, reference)
    first = is_new.astype(np.float64)
    shuffled = np.array([generator.permutation(first) for _ in range(PERMUTATIONS)])
    found = _coefficients(distances, np.vstack([first, shuffled]))
    reached = int((found[1:] >= found[0] - 1e-12).sum())
    return float(found[0]), (1 + reached) / (1 + PERMUTATIONS)


def _distances(
    new: Float[np.ndarray, "new hidden"], reference: Float[np.ndarray, "reference hidden"]
) -> tuple[Float[np.ndarray, "both both"], Bool[np.ndarray, "both"]]:
    """Euclidean distances of all pairs, every column in units of its standard deviation over both sides."""
    both = np.vstack([new, reference]).astype(np.float64)
    spread = both.std(axis=0)
    scaled = (both - both.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    squares = (scaled**2).sum(axis=1)
    apart = squares[:, None] + squares[None, :] - 2.0 * scaled @ scaled.T
    np.fill_diagonal(apart, 0.0)
    return np.sqrt(np.maximum(apart, 0.0)), np.arange(len(both)) < len(new)


def _coefficients(
    distances: Float[np.ndarray, "both both"], first: Float[np.ndarray, "divisions both"]
) -> Float[np.ndarray, "divisions"]:
    """Energy coefficient of each division of the records into two sides; `first` is 1 for those of the first."""
    sizes = first.sum(axis=1)
    others = distances.shape[0] - sizes
    inside = np.einsum("ij,ij->i", first @ distances, first)
    across = first @ distances.sum(axis=1) - inside
    outside = distances.sum() - 2.0 * across - inside
    twice = 2.0 * across / (sizes * others)
    energy = twice - inside / sizes**2 - outside / others**2
    return energy / np.maximum(twice, 1e-300)


def _some(means: Float[np.ndarray, "conversations hidden"], generator: np.random.Generator) -> np.ndarray:
    return means if len(means) <= MOST else means[np.sort(generator.choice(len(means), MOST, replace=False))]
