"""What changed between two versions of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from models_under_pressure.datasets.counts import label_counts
from models_under_pressure.datasets.splits import Splits
from models_under_pressure.records import Record


@dataclass(frozen=True, slots=True)
class Flip:
    """A row whose label changed."""

    id: str
    split: str
    before: Record
    after: Record


@dataclass(frozen=True, slots=True)
class Diff:
    """Two versions held against each other, row by row (rows are the same if their ids are)."""

    added: Sequence[str]
    dropped: Sequence[str]
    moved: Sequence[tuple[str, str, str]]
    """(id, split before, split after)."""
    rewritten: Sequence[str]
    """Ids of rows whose conversation changed."""
    flips: Sequence[Flip]
    score_drift: float | None
    """Mean change of the 1-10 score over the rows scored in both; None if there are none."""
    mean_score_change: float | None
    """Mean absolute change of the score."""
    labels_before: dict[str, dict[str, int]]
    labels_after: dict[str, dict[str, int]]


def diff(before: Splits, after: Splits) -> Diff:
    """Compare two versions."""
    old, new = _by_id(before), _by_id(after)
    common = sorted(old.keys() & new.keys())
    changes = [
        new_record.scale_label - old_record.scale_label
        for id_ in common
        if (new_record := new[id_][1]).scale_label is not None and (old_record := old[id_][1]).scale_label is not None
    ]
    return Diff(
        added=sorted(new.keys() - old.keys()),
        dropped=sorted(old.keys() - new.keys()),
        moved=[(id_, old[id_][0], new[id_][0]) for id_ in common if old[id_][0] != new[id_][0]],
        rewritten=[id_ for id_ in common if old[id_][1].input != new[id_][1].input],
        flips=[
            Flip(id_, new[id_][0], old[id_][1], new[id_][1]) for id_ in common if old[id_][1].label != new[id_][1].label
        ],
        score_drift=fmean(changes) if changes else None,
        mean_score_change=fmean(map(abs, changes)) if changes else None,
        labels_before={name: label_counts(records) for name, records in before.items()},
        labels_after={name: label_counts(records) for name, records in after.items()},
    )


def to_json(result: Diff) -> dict[str, Any]:
    """The comparison as JSON values."""
    return {
        "added": list(result.added),
        "dropped": list(result.dropped),
        "moved": [{"id": id_, "from": old, "to": new} for id_, old, new in result.moved],
        "rewritten": list(result.rewritten),
        "flips": [
            {"id": flip.id, "split": flip.split, "before": _judgement(flip.before), "after": _judgement(flip.after)}
            for flip in result.flips
        ],
        "score_drift": result.score_drift,
        "mean_score_change": result.mean_score_change,
        "labels": {"before": result.labels_before, "after": result.labels_after},
    }


def to_markdown(result: Diff, *, title: str, most: int = 20) -> str:
    """The comparison as Markdown; at most `most` rows of each list are shown, and the rest counted."""
    lines = [f"# {title}", "", "| what | rows |", "|---|---:|"]
    for name in ("added", "dropped", "moved", "rewritten", "flips"):
        lines.append(f"| {name} | {len(getattr(result, name))} |")
    if result.score_drift is not None:
        lines += ["", f"Score drift {result.score_drift:+.2f}, mean change {result.mean_score_change:.2f} (of 1-10)."]
    lines += ["", "| split | label | before | after |", "|---|---|---:|---:|"]
    for split, counts in result.labels_after.items():
        for label, count in counts.items():
            lines.append(f"| {split} | {label} | {result.labels_before[split][label]} | {count} |")
    for name in ("added", "dropped"):
        lines += _listed(name, list(getattr(result, name)), most)
    lines += _listed("moved", [f"{id_}: {old} -> {new}" for id_, old, new in result.moved], most)
    lines += _listed("flips", [_describe(flip) for flip in result.flips], most)
    return "\n".join(lines) + "\n"


def _by_id(splits: Splits) -> dict[str, tuple[str, Record]]:
    return {record.id: (name, record) for name, records in splits.items() for record in records}


def _judgement(record: Record) -> dict[str, Any]:
    return {
        "label": record.label.value if record.label else None,
        "score": record.scale_label,
        "confidence": record.scale_label_confidence,
        "explanation": record.scale_label_explanation,
    }


def _describe(flip: Flip) -> str:
    def side(record: Record) -> str:
        label = record.label.value if record.label else "not labelled"
        return f"{label} ({record.scale_label}/{record.scale_label_confidence}: {record.scale_label_explanation})"

    return f"{flip.split} {flip.id}: {side(flip.before)} -> {side(flip.after)}"


def _listed(name: str, rows: Sequence[str], most: int) -> list[str]:
    if not rows:
        return []
    more = [f"- … and {len(rows) - most} more"] if len(rows) > most else []
    return ["", f"## {name}", "", *(f"- {' '.join(row.split())}" for row in rows[:most]), *more]
