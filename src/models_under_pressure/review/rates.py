"""False and true positive rates at the thresholds that two revisions have stored with their probes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models_under_pressure.evaluation.comparison import Verdict
from models_under_pressure.evaluation.differences import holm, unpaired_difference
from models_under_pressure.evaluation.intervals import Difference, Estimate
from models_under_pressure.evaluation.report import AT_STORED
from models_under_pressure.review.changes import Snapshot, change_of


@dataclass(frozen=True, slots=True)
class RateChange:
    """A rate of one probe on one dataset before and after."""

    dataset: str
    probe: str
    rate: str
    """`fpr` or `tpr`."""
    percent: str
    """False positive rate that the threshold is stored for, in percent."""
    verdict: Verdict
    before: Estimate
    after: Estimate
    difference: Difference | None = None
    """By the two intervals that git keeps, as if independent: the thresholds differ too."""
    reason: str = ""
    """Why it is not comparable."""


def rate_changes(before: Snapshot, after: Snapshot, *, alpha: float) -> list[RateChange]:
    """Every rate at a stored threshold that both sides have, judged by Holm over the datasets of a probe and rate."""
    rows = [
        _change(dataset, probe, found, before, after, alpha)
        for dataset, probes in after.metrics.items()
        for probe, row in probes.items()
        for found in filter(None, map(AT_STORED.fullmatch, row))
        if found[0] in before.metrics.get(dataset, {}).get(probe, {})
    ]
    return _judged(rows, alpha)


def _change(
    dataset: str, probe: str, found: re.Match[str], before: Snapshot, after: Snapshot, alpha: float
) -> RateChange:
    ends = (found[0], f"{found[0]}_low", f"{found[0]}_high")
    first, second = (Estimate(*(side.metrics[dataset][probe][name] for name in ends)) for side in (before, after))
    percent = found["percent"].replace("_", ".")
    row = RateChange(dataset, probe, found["rate"], percent, Verdict.NOT_COMPARABLE, first, second)
    if reason := change_of(dataset, before, after):
        return replace(row, reason=reason)
    if first == second:
        return replace(row, verdict=Verdict.UNCHANGED)
    coverage = {side.params.get("evaluate.confidence", 0.95) for side in (before, after)}
    if len(coverage) > 1:
        return replace(row, reason="intervals of another confidence")
    change = unpaired_difference(first, second, 1.0 - alpha, of_interval=coverage.pop())
    return replace(row, difference=change, verdict=Verdict.NOISE)


def _judged(rows: Sequence[RateChange], alpha: float) -> list[RateChange]:
    families: dict[tuple[str, str, str], dict[int, Difference]] = {}
    for number, row in enumerate(rows):
        if row.difference is not None:
            families.setdefault((row.probe, row.rate, row.percent), {})[number] = row.difference
    found = list(rows)
    for tests in families.values():
        adjusted = holm([difference.p_value for difference in tests.values()])
        for (number, difference), p_value in zip(tests.items(), adjusted, strict=True):
            is_better = (difference.value > 0) == (rows[number].rate == "tpr")
            verdict = Verdict.NOISE if p_value > alpha else Verdict.BETTER if is_better else Verdict.WORSE
            found[number] = replace(rows[number], verdict=verdict)
    return found
