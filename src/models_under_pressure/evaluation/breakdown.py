"""Metrics by attribute of the records: language, topic, source, length."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from models_under_pressure.core.records import Record
from models_under_pressure.evaluation import metrics
from models_under_pressure.evaluation.curves import checked_labels, checked_scores
from models_under_pressure.evaluation.intervals import Estimate, clopper_pearson, evidence
from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores, percent


def by_attribute(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None,
    values: Sequence[str],
    *,
    config: EvaluateConfig,
    seed: int,
    probabilities: ArrayLike | None = None,
) -> dict[str, dict[str, float | int]]:
    """`evaluate_scores` of the records of each value of an attribute (`values` has one per record), sorted by value.

    A monitor has one threshold for everybody. So each part also has the rates at the threshold that keeps the first
    budget on all records together: `tpr_at_shared_1pct` and `fpr_at_shared_1pct`, where the part has that class.

    Raises:
        ValueError: one class is missing overall, or `values` has another length.
    """
    checked = checked_labels(labels)
    ranked = checked_scores(scores, len(checked))
    attribute = np.asarray(values)
    if attribute.shape != checked.shape:
        raise ValueError(f"attribute values have shape {attribute.shape}, labels {checked.shape}")
    budget = config.fpr_budgets[0]
    flagged = ranked >= metrics.threshold_at_fpr(ranked, checked, budget)
    found: dict[str, dict[str, float | int]] = {}
    for value in sorted(set(values)):
        inside = attribute == value
        names = None if groups is None else np.asarray(groups)[inside]
        chance = None if probabilities is None else np.asarray(probabilities)[inside]
        part = evaluate_scores(ranked[inside], checked[inside], names, config=config, seed=seed, probabilities=chance)
        sizes = evidence(checked[inside], names)
        for rate, members, size in zip(("tpr", "fpr"), (checked, ~checked), sizes, strict=True):
            if size:
                share = float(flagged[inside & members].mean())
                estimate = clopper_pearson(share * size, size, config.confidence)
                part |= _flat(f"{rate}_at_shared_{percent(budget)}", estimate)
        found[str(value)] = part
    return found


def length_bins(lengths: ArrayLike, bins: int = 4) -> list[str]:
    """Name of each record's length bin; edges are quantiles, so that the bins are about equal in number.

    Names sort by length: `1: up to 120`, `2: 121 to 300`, … (the unit is that of `lengths`).
    """
    array = np.asarray(lengths)
    edges = np.unique(np.quantile(array, np.linspace(0.0, 1.0, bins + 1)[1:], method="inverted_cdf"))
    index = np.searchsorted(edges, array, side="left")
    names = [
        f"{number + 1}: up to {edge:,}" if number == 0 else f"{number + 1}: {edges[number - 1] + 1:,} to {edge:,}"
        for number, edge in enumerate(edges)
    ]
    return [names[number] for number in index]


def by_attributes(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None,
    attributes: Mapping[str, Sequence[str]],
    *,
    config: EvaluateConfig,
    seed: int,
    probabilities: ArrayLike | None = None,
) -> dict[str, dict[str, dict[str, float | int]]]:
    """`by_attribute` for several: attribute -> value -> metric."""
    return {
        name: by_attribute(scores, labels, groups, values, config=config, seed=seed, probabilities=probabilities)
        for name, values in attributes.items()
    }


def _flat(name: str, estimate: Estimate) -> dict[str, float | int]:
    return {
        name: round(estimate.value, 4),
        f"{name}_low": round(estimate.low, 4),
        f"{name}_high": round(estimate.high, 4),
    }


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
