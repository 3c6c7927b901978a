"""Two snapshots to one review: what changed, by how much, and whether it is noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models_under_pressure.evaluation.comparison import (
    Comparison,
    MeanComparison,
    Verdict,
    compare,
    compare_means,
)
from models_under_pressure.review.snapshot import Cost, Row, Snapshot, label_counts


@dataclass(frozen=True, slots=True)
class ParamChange:
    """A parameter that differs; None on the side that lacks it."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class DatasetChange:
    """A dataset file that differs; counts are None when a side could not be read."""

    path: str
    before: Mapping[str, int] | None
    """Label -> rows."""
    after: Mapping[str, int] | None
    added: int | None = None
    removed: int | None = None
    edited: int | None = None
    """Rows of one id whose conversation differs."""
    relabelled: int | None = None


@dataclass(frozen=True, slots=True)
class OverlapChange:
    """Pairs of rows shared between splits of a version; None on the side that lacks it."""

    version: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class MeanRow:
    """Mean over the datasets of one purpose."""

    purpose: str
    mean: MeanComparison


@dataclass(frozen=True)
class Review:
    """All that changed from one revision to another."""

    before: Snapshot
    after: Snapshot
    params: Sequence[ParamChange]
    datasets: Sequence[DatasetChange]
    rows: Sequence[Comparison]
    means: Sequence[MeanRow]
    overlap: Sequence[OverlapChange]
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
        return any(row.verdict is Verdict.WORSE for row in self.rows) or any(
            row.mean.verdict is Verdict.WORSE for row in self.means
        )


def review(before: Snapshot, after: Snapshot, *, alpha: float = 0.05) -> Review:
    """Compare two snapshots.

    A dataset whose conversations were edited under the same ids is not comparable either: its scores are of other
    texts. Results that only metrics/evaluate.json knows (scores out of reach) are listed as not comparable, with their
    values. Training records have no place in a verdict: a looser fit is better on them and nowhere else.
    """
    before, after = _without_training(before), _without_training(after)
    rows = compare(before.scores, after.scores, changed=_edited(before, after), alpha=alpha)
    rows = _completed(rows, before, after)
    purposes = {**before.purposes, **after.purposes}
    means = [
        MeanRow(purpose, mean)
        for purpose in sorted(set(purposes.values()))
        for mean in compare_means([row for row in rows if purposes.get(row.dataset) == purpose], alpha=alpha)
        if mean.datasets > 1  # the mean of one is its row, which Holm's correction has judged
    ]
    return Review(
        before=before,
        after=after,
        params=_params(before.params, after.params),
        datasets=_datasets(before, after),
        rows=rows,
        means=means,
        overlap=_overlap(before.overlap, after.overlap),
        costs=_new_costs(before, after),
        alpha=alpha,
        warnings=[*before.missing, *after.missing],
    )


def _without_training(side: Snapshot) -> Snapshot:
    trained = {name for name, purpose in side.purposes.items() if purpose == "train"}
    return replace(
        side,
        scores=[scores for scores in side.scores if scores.dataset not in trained],
        metrics={name: found for name, found in side.metrics.items() if name not in trained},
    )


def _edited(before: Snapshot, after: Snapshot) -> dict[str, str]:
    """Evaluated datasets whose conversations differ under the same ids, or cannot be told to be the same."""
    found = {}
    for dataset in before.datasets.keys() & after.datasets.keys():
        paths = before.datasets[dataset], after.datasets[dataset]
        hashes = before.files.get(paths[0]), after.files.get(paths[1])
        if hashes[0] == hashes[1]:
            continue
        sides = before.rows.get(paths[0]), after.rows.get(paths[1])
        if sides[0] is None or sides[1] is None:
            found[dataset] = "its file changed and is out of reach"
        elif edited := _count(sides[0], sides[1], "content"):
            found[dataset] = f"{edited} texts edited"
    return found


def _completed(rows: Sequence[Comparison], before: Snapshot, after: Snapshot) -> list[Comparison]:
    """Rows with what metrics/evaluate.json knows where scores are out of reach."""
    known = {(row.dataset, row.probe): row for row in rows if row.reason not in ("new", "removed")}
    partial = {(row.dataset, row.probe): row for row in rows if row.reason in ("new", "removed")}
    keys = [*known, *partial]
    keys += [
        (dataset, probe) for side in (after, before) for dataset, probes in side.metrics.items() for probe in probes
    ]
    return [known.get(key) or _from_metrics(key, partial.get(key), before, after) for key in dict.fromkeys(keys)]


def _from_metrics(key: tuple[str, str], partial: Comparison | None, before: Snapshot, after: Snapshot) -> Comparison:
    first, second = (side.metrics.get(key[0], {}).get(key[1]) for side in (before, after))
    if partial is not None and (first is None or second is None):
        return partial
    row = Comparison(
        *key,
        Verdict.NOT_COMPARABLE,
        before=(first or {}).get("auroc"),
        after=(second or {}).get("auroc"),
        n=(second or first or {}).get("n", 0),
    )
    if first is None or second is None:
        return replace(row, reason="new" if second else "removed")
    if first == second and _same_file(key[0], before, after):
        return replace(row, verdict=Verdict.UNCHANGED)
    return replace(row, reason="scores per record are out of reach")


def _same_file(dataset: str, before: Snapshot, after: Snapshot) -> bool:
    hashes = [side.files.get(side.datasets.get(dataset, "")) for side in (before, after)]
    return hashes[0] is not None and hashes[0] == hashes[1]


def _params(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[ParamChange]:
    return [
        ParamChange(key, before.get(key), after.get(key))
        for key in sorted({**before, **after})
        if before.get(key) != after.get(key) or (key in before) != (key in after)
    ]


def _datasets(before: Snapshot, after: Snapshot) -> list[DatasetChange]:
    return [
        _dataset(path, path in before.files, path in after.files, before.rows.get(path), after.rows.get(path))
        for path in sorted({**before.files, **after.files})
        if before.files.get(path) != after.files.get(path)
    ]


def _dataset(
    path: str, was: bool, is_: bool, before: Mapping[str, Row] | None, after: Mapping[str, Row] | None
) -> DatasetChange:
    first = {} if not was else before
    second = {} if not is_ else after
    change = DatasetChange(
        path,
        None if first is None else label_counts(first),
        None if second is None else label_counts(second),
    )
    if first is None or second is None:
        return change
    return replace(
        change,
        added=len(second.keys() - first.keys()),
        removed=len(first.keys() - second.keys()),
        edited=_count(first, second, "content"),
        relabelled=_count(first, second, "label"),
    )


def _count(before: Mapping[str, Row], after: Mapping[str, Row], what: str) -> int:
    """Rows on both sides that differ in an attribute."""
    return sum(getattr(before[id_], what) != getattr(after[id_], what) for id_ in before.keys() & after.keys())


def _overlap(before: Mapping[str, int], after: Mapping[str, int]) -> list[OverlapChange]:
    return [
        OverlapChange(version, before.get(version), after.get(version))
        for version in sorted({**before, **after})
        if before.get(version) != after.get(version)
    ]


def _new_costs(before: Snapshot, after: Snapshot) -> dict[str, Cost]:
    """Replies that only the later revision uses, added up by stage."""
    found = {}
    for stage, replies in sorted(after.costs.items()):
        known = before.costs.get(stage, {})
        new = [cost for key, cost in replies.items() if key not in known]
        if new:
            prices = [cost.usd for cost in new]
            found[stage] = Cost(
                replies=sum(cost.replies for cost in new),
                input_tokens=sum(cost.input_tokens for cost in new),
                output_tokens=sum(cost.output_tokens for cost in new),
                usd=None if None in prices else sum(price for price in prices if price is not None),
            )
    return found
