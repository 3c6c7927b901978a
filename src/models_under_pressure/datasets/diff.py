"""What changed between two versions of a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean
from typing import Any

from models_under_pressure.core.conversation import tools_text
from models_under_pressure.core.display import markdown_table, printable
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
    scored: int
    """Rows with a score in both."""
    score_drift: float | None
    """Mean change of their 1-10 score; None if there are none."""
    mean_score_change: float | None
    """Mean absolute change of their score."""
    labels_before: dict[str, dict[str, int]]
    """Split -> label -> rows; splits without rows on both sides are left out."""
    labels_after: dict[str, dict[str, int]]


def diff(before: Splits, after: Splits) -> Diff:
    """Compare two versions."""
    old, new = _by_id(before), _by_id(after)
    common = sorted(old.keys() & new.keys())
    changes = [
        new_score - old_score
        for id_ in common
        if (new_score := new[id_][1].scale_label) is not None and (old_score := old[id_][1].scale_label) is not None
    ]
    splits = [name for (name, rows), (_, others) in zip(before.items(), after.items(), strict=True) if rows or others]
    return Diff(
        added=sorted(new.keys() - old.keys()),
        dropped=sorted(old.keys() - new.keys()),
        moved=[(id_, old[id_][0], new[id_][0]) for id_ in common if old[id_][0] != new[id_][0]],
        rewritten=[id_ for id_ in common if old[id_][1].input != new[id_][1].input],
        flips=[
            Flip(id_, new[id_][0], old[id_][1], new[id_][1]) for id_ in common if old[id_][1].label != new[id_][1].label
        ],
        scored=len(changes),
        score_drift=fmean(changes) if changes else None,
        mean_score_change=fmean(map(abs, changes)) if changes else None,
        labels_before={name: label_counts(records) for name, records in before.items() if name in splits},
        labels_after={name: label_counts(records) for name, records in after.items() if name in splits},
    )


def to_json(result: Diff) -> dict[str, Any]:
    """The comparison as JSON values, every row listed."""
    return {
        "added": list(result.added),
        "dropped": list(result.dropped),
        "moved": [{"id": id_, "from": old, "to": new} for id_, old, new in result.moved],
        "rewritten": list(result.rewritten),
        "flips": [
            {"id": flip.id, "split": flip.split, "before": _judgement(flip.before), "after": _judgement(flip.after)}
            for flip in result.flips
        ],
        "scored": result.scored,
        "score_drift": result.score_drift,
        "mean_score_change": result.mean_score_change,
        "labels": {"before": result.labels_before, "after": result.labels_after},
    }


def to_text(result: Diff, *, title: str, most: int = 20) -> str:
    """The comparison for a terminal; at most `most` rows of each list are shown, and the rest counted."""
    lines = [title, "  ".join(f"{name} {len(getattr(result, name))}" for name in _LISTS), *_drift(result)]
    lines += [
        f"{split:5} {label:12} {before:6} -> {after:6}  {after - before:+}"
        for split, label, before, after in _balance(result)
    ]
    for name, rows in _listed(result, most):
        lines += ["", f"{name}:", *(f"  {row}" for row in rows)]
    return "\n".join(lines) + "\n"


def to_markdown(result: Diff, *, title: str, most: int = 20) -> str:
    """The comparison as Markdown, dataset text escaped; at most `most` rows of each list, and the rest counted."""
    lists = markdown_table(("what", ">rows"), [(name, len(getattr(result, name))) for name in _LISTS])
    balance = markdown_table(("split", "label", ">before", ">after"), _balance(result))
    lines = [f"# {title}", "", lists, *_drift(result), "", balance.rstrip()]
    for name, rows in _listed(result, most):
        lines += ["", f"## {name}", "", *(f"- {_harmless(row)}" for row in rows)]
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
        return record.label.value
    by = f", {one_line(record.scale_label_model)}" if record.scale_label_model else ""
    score = f"stakes {record.scale_label}, confidence {record.scale_label_confidence}{by}"
    return f"{record.label.value} ({score}): {one_line(record.scale_label_explanation or '', 400)}"


def _by_id(splits: Splits) -> dict[str, tuple[str, Record]]:
    return {record.id: (name, record) for name, records in splits.items() for record in records}


def _judgement(record: Record) -> dict[str, Any]:
    return {
        "label": record.label.value if record.label else None,
        "score": record.scale_label,
        "confidence": record.scale_label_confidence,
        "explanation": record.scale_label_explanation,
    }


def _drift(result: Diff) -> list[str]:
    if result.score_drift is None:
        return ["No row has a score in both."]
    return [
        f"Score drift {result.score_drift:+.2f}, mean absolute change {result.mean_score_change:.2f} "
        f"(of 1-10, {result.scored} rows)."
    ]


def _balance(result: Diff) -> list[tuple[str, str, int, int]]:
    return [
        (split, label, result.labels_before[split][label], count)
        for split, counts in result.labels_after.items()
        for label, count in counts.items()
    ]


def _listed(result: Diff, most: int) -> list[tuple[str, list[str]]]:
    lists = {
        "added": list(result.added),
        "dropped": list(result.dropped),
        "moved": [f"{id_}: {old} -> {new}" for id_, old, new in result.moved],
        "flips": [_describe(flip) for flip in result.flips],
    }
    return [
        (
            name,
            [printable(" ".join(row.split())) for row in rows[:most]]
            + [f"… and {len(rows) - most} more"] * (len(rows) > most),
        )
        for name, rows in lists.items()
        if rows
    ]


def _describe(flip: Flip) -> str:
    def side(record: Record) -> str:
        label = record.label.value if record.label else "not labelled"
        return f"{label} ({record.scale_label}/{record.scale_label_confidence}: {record.scale_label_explanation})"

    return f"{flip.split} {flip.id}: {side(flip.before)} -> {side(flip.after)}"


def _harmless(text: str) -> str:
    """Text that a Markdown page shows and does not obey."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]|" else letter for letter in escape(text, quote=False))
