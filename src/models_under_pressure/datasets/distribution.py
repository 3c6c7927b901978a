"""Label counts and lengths of a dataset file."""

from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from models_under_pressure.datasets.counts import label_counts
from models_under_pressure.records import Record


def distribution(records: Sequence[Record]) -> dict[str, Any]:
    """Counts per label, and characters (without role names) and turns per row.

    Raises:
        ValueError: there are no records.
    """
    if not records:
        raise ValueError("an empty dataset has no distribution")
    characters = [sum(len(message.content) for message in record.messages) for record in records]
    turns = [len(record.messages) for record in records]
    return {
        "rows": len(records),
        "labels": label_counts(records),
        "characters": _summary(characters),
        "turns": _summary(turns),
    }


def _summary(values: Sequence[int]) -> dict[str, float]:
    return {"mean": round(fmean(values), 1), "median": median(values), "min": min(values), "max": max(values)}
