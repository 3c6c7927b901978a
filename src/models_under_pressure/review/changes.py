"""What changed beside results: parameters, datasets, overlap and replies."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record, to_row
from models_under_pressure.evaluation.scores import ScoreList

Unread = Literal["scores", "dataset files", "replies"]
"""Kinds of files that may be out of reach."""


@dataclass(frozen=True, slots=True)
class Row:
    """A record of a dataset file, reduced to what a review compares."""

    label: str | None
    content: str
    """Hash of the conversation."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens and price of some replies."""

    replies: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    """None when a model has no known price."""


@dataclass(frozen=True)
class Snapshot:
    """One revision. Tables hold only what differs between the two revisions, where reading it is dear."""

    name: str
    """As the user wrote it: `HEAD~1`, `workspace`."""
    commit: str | None = None
    """Full commit hash; None for the workspace."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Dotted key -> value."""
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """Path of every dataset file, or of a folder of them that was not opened -> content hash, from dvc.lock."""
    rows: Mapping[str, Mapping[str, Row]] = field(default_factory=dict[str, Mapping[str, Row]])
    """Path of a changed dataset file -> record id -> row."""
    datasets: Mapping[str, str] = field(default_factory=dict[str, str])
    """Evaluated dataset -> path of its file."""
    contents: Mapping[str, str] = field(default_factory=dict[str, str])
    """Evaluated dataset -> hash of its file, from metrics/intervals.json."""
    purposes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Evaluated dataset -> what it is for, such as `dev`."""
    scores: Sequence[ScoreList] = ()
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(
        default_factory=dict[str, Mapping[str, Mapping[str, Any]]]
    )
    """Dataset -> probe -> metric: AUROC, and from metrics/intervals.json its interval and counts."""
    overlap: Mapping[str, int] = field(default_factory=dict[str, int])
    """Dataset version -> pairs of rows that two splits share."""
    costs: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict[str, Mapping[str, Cost]])
    """Stage -> key of each reply that it used -> its cost, for stages whose replies changed."""
    computed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Precision and quantisation of the forward pass, as a probe recorded them; empty when none is at hand."""
    unread: Mapping[Unread, int] = field(default_factory=dict[Unread, int])
    """Kind -> files that are in no cache and on no remote."""
    missing: Sequence[str] = ()
    """Sentences about other files that could not be read."""

    def hash_of(self, path: str) -> tuple[str, str] | None:
        """The file or unopened folder that holds a dataset file, and its hash; None when neither is known."""
        for place in (path, *map(str, PurePosixPath(path).parents)):
            if place in self.files:
                return place, self.files[place]
        return None


def rows_of(records: Iterable[Record]) -> dict[str, Row]:
    """The rows of a dataset file."""
    return {
        row["ids"]: Row(None if (word := row.get("labels")) is None else str(word), stable_hash(row["inputs"]))
        for row in map(to_row, records)
    }


@dataclass(frozen=True, slots=True)
class Change:
    """A parameter, or a version's pairs of rows shared between splits, that differs; None on the side that lacks it."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class DatasetChange:
    """A dataset file that differs, or a folder of them that could not be opened; None where nothing was counted."""

    path: str
    status: Literal["new", "removed", "changed"]
    before: Mapping[str, int] | None
    """Label -> rows."""
    after: Mapping[str, int] | None
    added: int | None = None
    removed: int | None = None
    edited: int | None = None
    """Rows of one id whose conversation differs."""
    relabelled: int | None = None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The entries of two tables that differ, by key."""
    return [
        Change(key, before.get(key), after.get(key))
        for key in sorted({**before, **after})
        if before.get(key) != after.get(key) or (key in before) != (key in after)
    ]


def dataset_changes(before: Snapshot, after: Snapshot) -> list[DatasetChange]:
    """Dataset files that differ; of a folder that could not be opened on a side, the folder."""
    paths = sorted({**before.files, **after.files})
    closed = tuple(f"{path}/" for path in paths if not path.endswith(".jsonl"))
    return [
        _dataset(path, before, after)
        for path in paths
        if before.files.get(path) != after.files.get(path) and not (closed and path.startswith(closed))
    ]


def _dataset(path: str, before: Snapshot, after: Snapshot) -> DatasetChange:
    known = [any(file == path or file.startswith(f"{path}/") for file in side.files) for side in (before, after)]
    status = "changed" if all(known) else "new" if known[1] else "removed"
    if not path.endswith(".jsonl"):
        return DatasetChange(path, status, None, None)
    none: dict[str, Row] = {}
    first = before.rows.get(path) if known[0] else none
    second = after.rows.get(path) if known[1] else none
    change = DatasetChange(path, status, _labels(first), _labels(second))
    if first is None or second is None:
        return change
    return replace(
        change,
        added=len(second.keys() - first.keys()),
        removed=len(first.keys() - second.keys()),
        edited=_count(first, second, "content"),
        relabelled=_count(first, second, "label"),
    )


def _labels(rows: Mapping[str, Row] | None) -> dict[str, int] | None:
    """Number of rows of each label, `none` for rows without one."""
    return None if rows is None else dict(sorted(Counter(row.label or "none" for row in rows.values()).items()))


def _count(before: Mapping[str, Row], after: Mapping[str, Row], what: str) -> int:
    """Rows on both sides that differ in an attribute."""
    return sum(getattr(before[id_], what) != getattr(after[id_], what) for id_ in before.keys() & after.keys())


def new_costs(before: Snapshot, after: Snapshot) -> dict[str, Cost]:
    """Replies that only the later revision uses, added up by stage."""
    found: dict[str, Cost] = {}
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


def change_of(dataset: str, before: Snapshot, after: Snapshot) -> str:
    """What became of a dataset's conversations, in words; empty when they are the same, or not known to differ."""
    if is_same_file(dataset, before, after) is not False:
        return ""
    first, second = (side.rows.get(side.datasets.get(dataset, "")) for side in (before, after))
    if first is None or second is None:
        return "its file changed and is out of reach"
    edited = _count(first, second, "content")
    return f"{edited} texts edited" if edited else ""


def is_same_file(dataset: str, before: Snapshot, after: Snapshot) -> bool | None:
    """Whether both sides have the same file of a dataset; None when that is not known."""
    contents = before.contents.get(dataset), after.contents.get(dataset)
    if None not in contents:
        return contents[0] == contents[1]
    first, second = (side.hash_of(side.datasets.get(dataset, "")) for side in (before, after))
    if first is None or second is None:
        return None
    if first[1] == second[1]:
        return True
    # a changed folder may hold the same file
    return False if first[0].endswith(".jsonl") and second[0].endswith(".jsonl") else None
