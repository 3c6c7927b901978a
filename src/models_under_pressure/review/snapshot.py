"""What a review needs to know of one revision; reading it from git and DVC is the part of `reading`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
    """What replies took."""

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
    params: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key -> value."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path of every dataset file, or of a folder of them that was not opened -> content hash, from dvc.lock."""
    rows: Mapping[str, Mapping[str, Row]] = field(default_factory=dict)
    """Path of a changed dataset file -> record id -> row."""
    datasets: Mapping[str, str] = field(default_factory=dict)
    """Evaluated dataset -> path of its file."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """Evaluated dataset -> hash of its file, from metrics/intervals.json."""
    purposes: Mapping[str, str] = field(default_factory=dict)
    """Evaluated dataset -> what it is for, such as `dev`."""
    scores: Sequence[ScoreList] = ()
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Dataset -> probe -> metric: AUROC, and from metrics/intervals.json its interval and counts."""
    overlap: Mapping[str, int] = field(default_factory=dict)
    """Dataset version -> pairs of rows that two splits share."""
    costs: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict)
    """Stage -> key of each reply that it used -> its cost, for stages whose replies changed."""
    computed: Mapping[str, Any] = field(default_factory=dict)
    """Precision and quantisation of the forward pass, as a probe recorded them; empty when none is at hand."""
    unread: Mapping[Unread, int] = field(default_factory=dict)
    """Kind -> files that are in no cache and on no remote."""
    missing: Sequence[str] = ()
    """What else could not be read, in words."""

    def hash_of(self, path: str) -> tuple[str, str] | None:
        """The file or unopened folder that holds a dataset file, and its hash; None when neither is known."""
        for place in (path, *map(str, PurePosixPath(path).parents)):
            if place in self.files:
                return place, self.files[place]
        return None


def rows_of(records: Iterable[Record]) -> dict[str, Row]:
    """The rows of a dataset file."""
    return {
        record.id: Row(record.label.value if record.label else None, stable_hash(to_row(record)["inputs"]))
        for record in records
    }


def label_counts(rows: Mapping[str, Row]) -> dict[str, int]:
    """Number of rows of each label, `none` for rows without one."""
    return dict(sorted(Counter(row.label or "none" for row in rows.values()).items()))
