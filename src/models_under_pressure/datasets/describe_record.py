"""One record as a person reads it: its labels through the versions, its columns, its conversation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models_under_pressure.core.records import Record
from models_under_pressure.datasets.printable import one_line, printable

_SHOWN_ELSEWHERE = ("previous_labels", "label_thresholds", "label_method")


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
    turns = [f"[{message.role}] {printable(message.content)}" for message in last.messages]
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


def datasets_of(places: Sequence[Place]) -> list[str]:
    """Names of the datasets, sorted, each once."""
    return sorted({place.dataset for place in places})
