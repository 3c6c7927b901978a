"""What a review needs to know of one revision; reading it from git and DVC is the caller's part."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record, to_row
from models_under_pressure.evaluation.scores import ScoreList


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
    """Path of every dataset file -> content hash, from dvc.lock."""
    rows: Mapping[str, Mapping[str, Row]] = field(default_factory=dict)
    """Path of a changed dataset file -> record id -> row."""
    datasets: Mapping[str, str] = field(default_factory=dict)
    """Evaluated dataset -> path of its file."""
    purposes: Mapping[str, str] = field(default_factory=dict)
    """Evaluated dataset -> what it is for, such as `dev`."""
    scores: Sequence[ScoreList] = ()
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Dataset -> probe -> metric: metrics/evaluate.json."""
    overlap: Mapping[str, int] = field(default_factory=dict)
    """Dataset version -> pairs of rows that two splits share."""
    costs: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict)
    """Stage -> key of each reply that it used -> its cost, for stages whose replies changed."""
    missing: Sequence[str] = ()
    """What could not be read, in words."""


def rows_of(records: Iterable[Record]) -> dict[str, Row]:
    """The rows of a dataset file."""
    return {
        record.id: Row(record.label.value if record.label else None, stable_hash(to_row(record)["inputs"]))
        for record in records
    }


def label_counts(rows: Mapping[str, Row]) -> dict[str, int]:
    """Number of rows of each label, `none` for rows without one."""
    return dict(sorted(Counter(row.label or "none" for row in rows.values()).items()))
