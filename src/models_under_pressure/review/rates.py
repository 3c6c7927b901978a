"""False and true positive rates at the thresholds that two revisions have stored with their probes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    before: Estimate | None = None
    after: Estimate | None = None
    difference: Difference | None = None
    """By the two intervals that git keeps, as if independent: the thresholds differ too."""
    reason: str = ""
    """Why it is not comparable."""


def rate_changes(before: Snapshot, after: Snapshot, *, alpha: float) -> list[RateChange]:
    """Every rate at a stored threshold that either side has, judged by Holm over the datasets of a probe and rate."""
    keys = {
        (dataset, probe, name): None
        for side in (after, before)
        for dataset, probes in side.metrics.items()
        for probe, row in probes.items()
        for name in row
        if AT_STORED.fullmatch(name)
    }
    return _judged([_change(key, before, after, alpha) for key in keys], alpha)


def _change(key: tuple[str, str, str], before: Snapshot, after: Snapshot, alpha: float) -> RateChange:
    dataset, probe, name = key
    found = AT_STORED.fullmatch(name)
    assert found is not None
    first, second = (_estimate(side.metrics.get(dataset, {}).get(probe, {}), name) for side in (before, after))
    row = RateChange(
        dataset, probe, found["rate"], found["percent"].replace("_", "."), Verdict.NOT_COMPARABLE, first, second
    )
    if first is None or second is None:
        return replace(row, reason="new" if second else "removed")
    if reason := change_of(dataset, before, after):
        return replace(row, reason=reason)
    if first == second:
        return replace(row, verdict=Verdict.UNCHANGED)
    coverage = {side.params.get("evaluate.confidence", 0.95) for side in (before, after)}
    if len(coverage) > 1:
        return replace(row, reason="intervals of another confidence")
    change = unpaired_difference(first, second, 1.0 - alpha, of_interval=coverage.pop())
    return replace(row, difference=change, verdict=Verdict.NOISE)


def _estimate(row: Any, name: str) -> Estimate | None:
    values = [row.get(key) for key in (name, f"{name}_low", f"{name}_high")]
    return None if None in values else Estimate(*values)


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
