"""The plan of a cascade: which conversations a judge reads beside a probe, within a budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models_under_pressure.core.display import text_table
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.evaluation.policy import Evidence, Measured, Policy, alone, choose, measure
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.probes.calibration import Threshold, stored_threshold


@dataclass(frozen=True)
class CascadePlan:
    """A policy that keeps a budget, chosen on the dev sets."""

    first: str
    second: str
    threshold: float
    """Stored threshold of the first monitor."""
    policy: Policy
    dev: Measured
    """On the dev sets, which it was chosen on."""
    test: Measured
    """On the test sets, which had no part in the choice."""
    alone: Measured
    """The first monitor by itself, on the test sets."""


def plan(
    judge: str,
    found: Mapping[str, Mapping[str, Evidence]],
    thresholds: Mapping[str, float],
    *,
    budget: float,
    evaluate: EvaluateConfig,
    seed: int,
) -> CascadePlan:
    """The policy with the highest TPR on the dev sets, among those that keep the budget and the first monitor's FPR.

    The FPR is the first monitor's own at its threshold on the dev sets. The test sets see the finished policy only.

    Args:
        judge: name of the second monitor.
        found: first monitor -> purpose -> its scores and the judge's.
        thresholds: first monitor -> its stored threshold.
        budget: expected cost of 1,000 conversations, where `evaluate.prevalence` of them are high-stakes.
        evaluate: prevalence, and how intervals are made.
        seed: of the intervals.

    Raises:
        UserError: no first monitor is within the budget.
    """

    def measured(name: str, purpose: str, policy: Policy) -> Measured:
        return measure(
            found[name][purpose],
            policy,
            np.random.default_rng(seed),
            prevalence=evaluate.prevalence,
            resamples=evaluate.resamples,
            confidence=evaluate.confidence,
        )

    best: tuple[tuple[float, float, float], str, Policy] | None = None
    for name, threshold in thresholds.items():
        dev = found[name]["dev"]
        policy = choose(dev, threshold=threshold, budget=budget / 1000, prevalence=evaluate.prevalence)
        if policy is not None:
            flags, cost = dev.flagged(policy), dev.weights(evaluate.prevalence) @ dev.cost(policy)
            key = float(flags[dev.labels].mean()), -float(flags[~dev.labels].mean()), -float(cost)
            best = (key, name, policy) if best is None or key > best[0] else best
    if best is None:
        cheapest = min(1000 * one["dev"].weights(evaluate.prevalence) @ one["dev"].first_cost for one in found.values())
        problem = (
            f"no plan keeps {budget:.3g} for 1,000 conversations; the cheapest monitor alone needs {cheapest:.3g}."
        )
        raise UserError(problem, remedy="allow more, or name a cheaper first monitor.")
    _, name, policy = best
    dev, test = measured(name, "dev", policy), measured(name, "test", policy)
    by_itself = measured(name, "test", alone(thresholds[name]))
    return CascadePlan(name, judge, thresholds[name], policy, dev, test, by_itself)


def to_text(made: CascadePlan, budget: float, *, unit: str) -> str:
    """The plan in words, and a table of what it does."""
    shown = {"dev (chosen on)": made.dev, "test": made.test, f"test, {made.first} alone": made.alone}
    cells = (
        (
            name,
            *(f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in (row.tpr, row.fpr)),
            f"{1000 * row.cost.value:.3g} [{1000 * row.cost.low:.3g}, {1000 * row.cost.high:.3g}]",
            f"{row.judged:.1%}",
        )
        for name, row in shown.items()
    )
    table = text_table(("", ">TPR", ">FPR", ">cost of 1,000", ">judged"), cells)
    return f"Budget for 1,000 conversations: {budget:.3g} ({unit}). Plan: {_rule(made)}.\n\n{table}"


def _rule(made: CascadePlan) -> str:
    policy = made.policy
    if policy.low >= policy.high:
        return f"{made.first} alone, which flags from the logit {made.threshold:.4f} on"
    has_end = not np.isinf(policy.high)
    read = f"{made.second} reads logits from {policy.low:.4f}" + (f" to {policy.high:.4f}" if has_end else "")
    verdict = "clears all of these" if np.isinf(policy.judge) else f"flags from {policy.judge:.4f} on"
    sure = "; higher ones are flagged without it" if has_end else ""
    return f"{made.first} reads all; {read} and {verdict}{sure}"


def saved_threshold(name: str, path: Path, fpr: float) -> float:
    """The threshold that a probe was saved with, for a false positive rate.

    Raises:
        UserError: it has none, or flags nothing at that rate.
    """
    rows = [Threshold.model_validate(row) for row in read_json(path)["thresholds"]]
    row = stored_threshold(name, rows, fpr)
    if row is None or row.logit is None:
        raise UserError(
            f"{name} has no threshold for a false positive rate of {fpr:g}.",
            where=str(path),
            remedy="name a rate of its table with --fpr, or train it with more conversations.",
        )
    return row.logit
