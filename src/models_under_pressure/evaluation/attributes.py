"""What records are grouped by when metrics are broken down: their columns, and their length."""

from collections import Counter
from collections.abc import Mapping, Sequence

from models_under_pressure.core.records import Record
from models_under_pressure.evaluation.breakdown import length_bins
from models_under_pressure.evaluation.config import EvaluateConfig

LENGTH = "length"
NOT_RECORDED = "not recorded"


def attributes_of(records: Sequence[Record], config: EvaluateConfig) -> dict[str, list[str]]:
    """Value of each record for every attribute by which these records differ: attribute -> a value per record.

    An attribute is the first of its columns that a record has. Values of fewer than `config.least_group` records are
    put together as `other`, because a metric of a handful is noise. Length is in characters.
    """
    found = {
        name: _pooled([_value(record, columns) for record in records], config.least_group)
        for name, columns in config.groups.items()
    }
    bins = length_bins([len(record.text) for record in records], config.length_bins)
    found[LENGTH] = [f"{name} characters" for name in bins]
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _value(record: Record, columns: Sequence[str]) -> str:
    fields: Mapping[str, object] = record.fields
    return next((str(fields[name]).strip() for name in columns if fields.get(name) not in (None, "")), NOT_RECORDED)


def _pooled(values: Sequence[str], least: int) -> list[str]:
    counts = Counter(values)
    rare = {value for value, count in counts.items() if count < least}
    other = f"other ({len(rare)} values)"
    return [other if value in rare and len(rare) > 1 else value for value in values]
