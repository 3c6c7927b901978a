"""Two snapshots to one review: what changed, by how much, and whether it is noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models_under_pressure.evaluation.comparison import (
    ONE_CLASS,
    Comparison,
    MeanComparison,
    Verdict,
    compare,
    compare_means,
    judged,
)
from models_under_pressure.evaluation.differences import unpaired_difference
from models_under_pressure.evaluation.intervals import Difference, Estimate
from models_under_pressure.review.changes import (
    Change,
    Cost,
    DatasetChange,
    Snapshot,
    Unread,
    change_of,
    changes,
    dataset_changes,
    is_same_file,
    new_costs,
)
from models_under_pressure.review.rates import RateChange, rate_changes

_JUDGED = (Verdict.BETTER, Verdict.WORSE, Verdict.NOISE)


@dataclass(frozen=True)
class Review:
    """All that changed from one revision to another."""

    before: Snapshot
    after: Snapshot
    params: Sequence[Change]
    datasets: Sequence[DatasetChange]
    rows: Sequence[Comparison]
    means: Sequence[MeanComparison]
    rates: Sequence[RateChange]
    """Rates at the stored thresholds. They fail no gate: a threshold is moved on purpose, and one rate rises with the
    other."""
    overlap: Sequence[Change]
    """Dataset version -> pairs of rows that two splits share."""
    costs: Mapping[str, Cost]
    """Stage -> replies that only the later revision uses: what the change had to ask for."""
    alpha: float
    warnings: Sequence[str]

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """Number of rows of each verdict."""
        return {verdict: sum(row.verdict is verdict for row in self.rows) for verdict in Verdict}

    @property
    def worse(self) -> bool:
        """Whether any dataset or any mean got worse."""
        return any(row.verdict is Verdict.WORSE for row in [*self.rows, *self.means])


def review(before: Snapshot, after: Snapshot, *, alpha: float = 0.05) -> Review:
    """Compare two snapshots.

    A dataset whose conversations were edited under the same ids is not comparable: its scores are of other texts.
    Where scores are out of reach, the difference comes from the two intervals that git keeps, unpaired. Training
    records have no place in a verdict: a looser fit is better on them and nowhere else.
    """
    before, after = _without_training(before), _without_training(after)
    names = sorted(before.datasets.keys() & after.datasets.keys())
    changed = {name: reason for name in names if (reason := change_of(name, before, after))}
    rows = compare(before.scores, after.scores, changed=changed, alpha=alpha)
    rates = rate_changes(before, after, alpha=alpha)
    told = {(rate.dataset, rate.probe) for rate in rates}  # of a dataset of one class, all that there is to tell
    rows = judged(_completed(rows, before, after, 1.0 - alpha), alpha=alpha)
    rows = [row for row in rows if row.reason != ONE_CLASS or (row.dataset, row.probe) not in told]
    purposes = {**before.purposes, **after.purposes}
    means = [
        mean
        for purpose in sorted(set(purposes.values()))
        for mean in compare_means([row for row in rows if purposes.get(row.dataset) == purpose], purpose, alpha=alpha)
        if mean.datasets > 1  # the mean of one is its row, which Holm's correction has judged
    ]
    return Review(
        before=before,
        after=after,
        params=changes(before.params, after.params),
        datasets=dataset_changes(before, after),
        rows=rows,
        means=means,
        rates=rates,
        overlap=changes(before.overlap, after.overlap),
        costs=new_costs(before, after),
        alpha=alpha,
        warnings=[*before.missing, *after.missing, *_unread(before, after, rows), *_computed(before, after)],
    )


def _without_training(side: Snapshot) -> Snapshot:
    trained = {name for name, purpose in side.purposes.items() if purpose == "train"}
    return replace(
        side,
        scores=[scores for scores in side.scores if scores.dataset not in trained],
        metrics={name: found for name, found in side.metrics.items() if name not in trained},
    )


def _completed(rows: Sequence[Comparison], before: Snapshot, after: Snapshot, confidence: float) -> list[Comparison]:
    """Rows with what the metrics in git know where scores are out of reach."""
    known: dict[tuple[str, str], Comparison] = {}
    partial: dict[tuple[str, str], Comparison] = {}
    for row in rows:
        (partial if row.reason in ("new", "removed") else known)[row.dataset, row.probe] = row
    in_git = ((name, probe) for side in (after, before) for name, probes in side.metrics.items() for probe in probes)
    return [
        known.get(key) or _from_metrics(key, partial.get(key), before, after, confidence)
        for key in dict.fromkeys([*known, *partial, *in_git])
    ]


def _from_metrics(
    key: tuple[str, str], partial: Comparison | None, before: Snapshot, after: Snapshot, confidence: float
) -> Comparison:
    first, second = (side.metrics.get(key[0], {}).get(key[1]) for side in (before, after))
    if partial is not None and (first is None or second is None):
        return partial
    row = Comparison(
        *key,
        Verdict.NOT_COMPARABLE,
        before=(first or {}).get("auroc"),
        after=(second or {}).get("auroc"),
        n=(second or first or {}).get("n", 0),
        paired=False,
    )
    if first is None or second is None:
        return replace(row, reason="new" if second else "removed")
    equal = all(first[name] == second[name] for name in first.keys() & second.keys())
    if reason := change_of(key[0], before, after) or _other_counts(first, second):
        return replace(row, reason=reason)
    if row.before is None or row.after is None:
        return replace(row, reason=ONE_CLASS)
    coverage = [side.params.get("evaluate.confidence", 0.95) for side in (before, after)]
    change = _unpaired(first, second, coverage, confidence)
    if equal and is_same_file(key[0], before, after):
        return replace(row, difference=change, verdict=Verdict.UNCHANGED)
    if change is None:
        return replace(row, reason="scores per record are out of reach")
    return replace(row, difference=change, verdict=Verdict.NOISE)


def _other_counts(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Whether two estimates are of other numbers of records or positives, in words."""
    for name, what in (("n", "records"), ("positives", "positives")):
        if name in first and name in second and first[name] != second[name]:
            return f"of {first[name]:,} and {second[name]:,} {what}"
    return ""


def _unpaired(
    first: Mapping[str, Any], second: Mapping[str, Any], coverage: Sequence[float], confidence: float
) -> Difference | None:
    """The difference by both intervals; None when one is missing, or they cover at different levels."""
    names = ("auroc", "auroc_low", "auroc_high")
    if not (first.keys() >= set(names) <= second.keys()) or coverage[0] != coverage[1]:
        return None
    one, two = (Estimate(*(found[name] for name in names)) for found in (first, second))
    return unpaired_difference(one, two, confidence, of_interval=coverage[0])


def _unread(before: Snapshot, after: Snapshot, rows: Sequence[Comparison]) -> list[str]:
    """One line for each kind of file that is out of reach: where, how many, and what follows."""
    is_unpaired = any(row.difference is not None and not row.paired for row in rows if row.verdict in _JUDGED)
    consequences: dict[Unread, str] = {
        "scores": "intervals are unpaired" if is_unpaired else "the metrics in git stand in for them",
        "dataset files": "their rows are not counted",
        "replies": "their cost is left out",
    }
    found: list[str] = []
    for kind, consequence in consequences.items():
        parts = [
            f"of {side.name} are {'not in the workspace' if side.commit is None else 'in no cache and on no remote'} "
            f"({side.unread[kind]} file{'s' if side.unread[kind] > 1 else ''})"
            for side in (before, after)
            if side.unread.get(kind)
        ]
        if parts:
            remedy = "`dvc pull` or `dvc fetch --all-commits` brings them"
            found.append(f"{kind} {', '.join(parts)}: {consequence}; {remedy}")
    return found


def _computed(before: Snapshot, after: Snapshot) -> list[str]:
    """A line when probes say that their activations were computed in another way."""
    names = sorted(before.computed.keys() & after.computed.keys())
    changed = [name for name in names if before.computed[name] != after.computed[name]]
    told = ", ".join(f"{name} {before.computed[name]} and then {after.computed[name]}" for name in changed)
    return [f"activations were computed differently ({told}): part of a change may come from that"] if told else []
