"""What changed between two versions of a dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from models_under_pressure.core.conversation import tools_text
from models_under_pressure.core.display import printable
from models_under_pressure.core.records import Record
from models_under_pressure.datasets.distribution import label_counts
from models_under_pressure.datasets.files import Splits

_LISTS = ("added", "dropped", "moved", "rewritten", "flips")
_SHOWN_ELSEWHERE = ("previous_labels", "label_thresholds", "label_method")


def one_line(text: object, most: int = 120) -> str:
    """The text on one line, cut when it is longer than `most` characters."""
    flat = printable(" ".join(str(text).split()))
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


@dataclass(frozen=True, slots=True)
class Diff:
    """Two versions held against each other, row by row (rows are the same if their ids are), as JSON values."""

    added: list[str]
    dropped: list[str]
    moved: list[dict[str, str]]
    """`id`, and the split `from` which and `to` which it went."""
    rewritten: list[str]
    """Ids of rows whose conversation changed."""
    flips: list[dict[str, Any]]
    """Rows whose label changed: `id`, `split`, and the judgement `before` and `after`."""
    scored: int
    """Rows with a score in both."""
    score_drift: float | None
    """Mean change of their 1-10 score; None if there are none."""
    mean_score_change: float | None
    """Mean absolute change of their score."""
    labels: dict[str, dict[str, dict[str, int]]]
    """`before` and `after` -> split -> label -> rows; splits without rows on both sides are left out."""


def diff(before: Splits, after: Splits) -> Diff:
    """Compare two versions."""
    sides = {"before": before, "after": after}
    old, new = (
        {record.id: (name, record) for name, records in side.items() for record in records} for side in sides.values()
    )
    common = {id_: (*old[id_], *new[id_]) for id_ in sorted(old.keys() & new.keys())}
    changes = [
        other.scale_label - one.scale_label
        for _, one, _, other in common.values()
        if one.scale_label is not None and other.scale_label is not None
    ]
    splits = [name for (name, rows), (_, others) in zip(before.items(), after.items(), strict=True) if rows or others]
    return Diff(
        added=sorted(new.keys() - old.keys()),
        dropped=sorted(old.keys() - new.keys()),
        moved=[{"id": id_, "from": was, "to": now} for id_, (was, _, now, _) in common.items() if was != now],
        rewritten=[id_ for id_, (_, one, _, other) in common.items() if one.input != other.input],
        flips=[
            {"id": id_, "split": split, "before": _judgement(one), "after": _judgement(other)}
            for id_, (_, one, split, other) in common.items()
            if one.label != other.label
        ],
        scored=len(changes),
        score_drift=fmean(changes) if changes else None,
        mean_score_change=fmean(map(abs, changes)) if changes else None,
        labels={
            name: {split: label_counts(records) for split, records in side.items() if split in splits}
            for name, side in sides.items()
        },
    )


def to_text(result: Diff, *, title: str, most: int = 20) -> str:
    """The comparison for a terminal; at most `most` rows of each list are shown, and the rest counted."""
    lines = [title, "  ".join(f"{name} {len(getattr(result, name))}" for name in _LISTS), _drift(result)]
    for split, counts in result.labels["after"].items():
        for label, after in counts.items():
            before = result.labels["before"][split][label]
            lines.append(f"{split:5} {label:12} {before:6} -> {after:6}  {after - before:+}")
    lists = {
        "added": result.added,
        "dropped": result.dropped,
        "moved": [f"{row['id']}: {row['from']} -> {row['to']}" for row in result.moved],
        "flips": [
            f"{row['split']} {row['id']}: {_told(row['before'])} -> {_told(row['after'])}" for row in result.flips
        ],
    }
    for name, rows in lists.items():
        if rows:
            lines += ["", f"{name}:", *(f"  {printable(' '.join(row.split()))}" for row in rows[:most])]
        if len(rows) > most:
            lines.append(f"  … and {len(rows) - most} more")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands."""

    dataset: str
    """Name of the dataset, whatever the version."""
    file: str
    """Version and part, such as `mt_apr_30 dev_raw`."""


def describe(found: Mapping[Place, Record]) -> str:
    """A line for each file that holds the record, then the columns and the conversation of the last of them."""
    lines = [f"{place.file}: {judgement(record)}" for place, record in found.items()]
    last = list(found.values())[-1]
    columns = [f"{name}: {one_line(value)}" for name, value in last.fields.items() if name not in _SHOWN_ELSEWHERE]
    turns = [printable(tools_text(last.tools))] if last.tools else []
    turns += [f"[{one.role}] " + printable(one.spoken.replace("\r\n", "\n")) for one in last.messages]
    return "\n\n".join(part for part in ("\n".join(lines), "\n".join(columns), *turns) if part) + "\n"


def judgement(record: Record) -> str:
    """The label with its score, confidence, labeller and reasons, on one line."""
    if record.label is None:
        return "not labelled"
    if record.scale_label is None:
        return str(record.label_word)
    by = f", {one_line(record.scale_label_model)}" if record.scale_label_model else ""
    score = f"rating {record.scale_label}, confidence {record.scale_label_confidence}{by}"
    return f"{record.label_word} ({score}): {one_line(record.scale_label_explanation or '', 400)}"


def _judgement(record: Record) -> dict[str, Any]:
    return {
        "label": record.label_word,
        "score": record.scale_label,
        "confidence": record.scale_label_confidence,
        "explanation": record.scale_label_explanation,
    }


def _told(judged: Mapping[str, Any]) -> str:
    return f"{judged['label'] or 'not labelled'} ({judged['score']}/{judged['confidence']}: {judged['explanation']})"


def _drift(result: Diff) -> str:
    if result.score_drift is None:
        return "No row has a score in both."
    return (
        f"Score drift {result.score_drift:+.2f}, mean absolute change {result.mean_score_change:.2f} "
        f"(of 1-10, {result.scored} rows)."
    )
