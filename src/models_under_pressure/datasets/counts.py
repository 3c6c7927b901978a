"""Counting labels."""

from collections import Counter
from collections.abc import Sequence

from models_under_pressure.core.records import Label, Record


def label_counts(records: Sequence[Record]) -> dict[str, int]:
    """How many rows carry each label."""
    counts = Counter(record.label for record in records)
    return {label.value: counts[label] for label in Label}
