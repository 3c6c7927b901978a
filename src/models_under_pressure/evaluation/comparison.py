"""Comparing two score lists of the same records, and a verdict that tells a change from noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean

import numpy as np

from models_under_pressure.evaluation.differences import averaged_difference, holm, mean_difference
from models_under_pressure.evaluation.intervals import Difference
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.evaluation.scores import ScoreList, by_id

_LEAST = 0.0005
"""A smaller change of AUROC is noise whatever its p-value: another machine's rounding moves a few ranks."""


ONE_CLASS = "one class only"
"""Reason of a dataset that has no AUROC."""


class Verdict(StrEnum):
    """What a difference means."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "noise"
    UNCHANGED = "unchanged"
    """The same scores to the last digit."""
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Comparison:
    """AUROC of one probe on one dataset before and after, and what became of it."""

    dataset: str
    probe: str
    verdict: Verdict
    before: float | None = None
    after: float | None = None
    difference: Difference | None = None
    """On the same records; None when they are not the same."""
    paired: bool = True
    """Whether the difference holds record against record; else it comes from the two intervals."""
    adjusted_p: float | None = None
    """p-value after Holm's correction over the datasets of the probe."""
    n: int = 0
    seeds: int = 1
    """Training seeds on the side that has fewer."""
    reason: str = ""
    """Why it is not comparable."""


@dataclass(frozen=True, slots=True)
class MeanComparison:
    """Mean change over the datasets of one purpose that can be compared, of one probe."""

    purpose: str
    probe: str
    datasets: int
    verdict: Verdict
    before: float
    after: float
    difference: Difference
    paired: bool = True
    """Whether all of its differences hold record against record."""


def compare(
    before: Sequence[ScoreList],
    after: Sequence[ScoreList],
    *,
    changed: Mapping[str, str] | None = None,
    alpha: float = 0.05,
) -> list[Comparison]:
    """Compare AUROC of every probe and dataset of two revisions, by DeLong's test on the same records.

    A verdict of better or worse holds at level `alpha` after Holm's correction over the datasets of a probe. `changed`
    names datasets whose records are known to differ although ids and labels agree (edited text), and why. Rows come in
    the order of `after`, then what only `before` has.
    """
    first, second = _by_key(before), _by_key(after)
    keys = dict.fromkeys([*second, *first])
    rows = [_compare(key, first.get(key, []), second.get(key, []), changed or {}, 1.0 - alpha) for key in keys]
    return judged(rows, alpha=alpha)


def judged(rows: Sequence[Comparison], *, alpha: float) -> list[Comparison]:
    """The rows with their verdicts after Holm's correction over the datasets of each probe."""
    found = list(rows)
    families: dict[str, dict[int, float]] = {}
    for number, row in enumerate(found):
        if row.difference is not None:
            families.setdefault(row.probe, {})[number] = row.difference.p_value
    for tests in families.values():
        for number, adjusted in zip(tests, holm(list(tests.values())), strict=True):
            row = found[number] = replace(found[number], adjusted_p=adjusted)
            if row.verdict is not Verdict.UNCHANGED and row.difference is not None:
                found[number] = replace(row, verdict=_verdict(row.difference.value, adjusted, alpha))
    return found


def compare_means(rows: Sequence[Comparison], purpose: str, *, alpha: float = 0.05) -> list[MeanComparison]:
    """Mean change of each probe over its comparable datasets, all of one purpose; one test a probe."""
    comparable: dict[str, list[tuple[Comparison, Difference]]] = {}
    for row in rows:
        if row.difference is not None:
            comparable.setdefault(row.probe, []).append((row, row.difference))
    found: list[MeanComparison] = []
    for probe, pairs in comparable.items():
        own = [row for row, _ in pairs]
        change = mean_difference([difference for _, difference in pairs], 1.0 - alpha)
        before, after = (fmean(getattr(row, side) for row in own) for side in ("before", "after"))
        unchanged = all(row.verdict is Verdict.UNCHANGED for row in own)
        verdict = Verdict.UNCHANGED if unchanged else _verdict(change.value, change.p_value, alpha)
        paired = all(row.paired for row in own)
        found.append(MeanComparison(purpose, probe, len(own), verdict, before, after, change, paired))
    return found


def _by_key(lists: Sequence[ScoreList]) -> dict[tuple[str, str], list[ScoreList]]:
    found: dict[tuple[str, str], list[ScoreList]] = {}
    for scores in lists:
        found.setdefault((scores.dataset, scores.probe), []).append(by_id(scores))
    return found


def _compare(
    key: tuple[str, str],
    before: list[ScoreList],
    after: list[ScoreList],
    changed: Mapping[str, str],
    confidence: float,
) -> Comparison:
    row = Comparison(
        *key,
        Verdict.NOT_COMPARABLE,
        before=_mean_auroc(before),
        after=_mean_auroc(after),
        n=len((after or before)[0].ids),
        seeds=min(len(before), len(after)),
    )
    if not before or not after:
        return replace(row, reason="new" if after else "removed")
    differences = (_change_of_records(scores, after[0]) for scores in [*before, *after[1:]])
    reason = next(filter(None, differences), "") or changed.get(row.dataset, "")
    if reason:
        return replace(row, reason=reason)
    if row.before is None:
        return replace(row, reason=ONE_CLASS)
    first, second = ([scores.logits for scores in side] for side in (before, after))
    change = averaged_difference(first, second, after[0].labels, after[0].groups, confidence=confidence)
    same = len(first) == len(second) and all(map(np.array_equal, first, second))
    return replace(row, difference=change, verdict=Verdict.UNCHANGED if same else Verdict.NOISE)


def _change_of_records(before: ScoreList, after: ScoreList) -> str:
    """What became of the records, in words; empty when ids and labels agree."""
    first = dict(zip(before.ids, before.labels.tolist(), strict=True))
    second = dict(zip(after.ids, after.labels.tolist(), strict=True))
    counts = {
        "added": len(second.keys() - first.keys()),
        "removed": len(first.keys() - second.keys()),
        "relabelled": sum(first[id_] != second[id_] for id_ in first.keys() & second.keys()),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _mean_auroc(side: list[ScoreList]) -> float | None:
    if not side or side[0].labels.all() or not side[0].labels.any():
        return None
    return fmean(auroc(scores.logits, scores.labels) for scores in side)


def _verdict(change: float, p_value: float, alpha: float) -> Verdict:
    if p_value > alpha or abs(change) < _LEAST:
        return Verdict.NOISE
    return Verdict.BETTER if change > 0 else Verdict.WORSE
