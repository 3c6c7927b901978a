"""Every metric of the scores that methods gave datasets, overall and by attribute of the records."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.core.paths import Dataset
from models_under_pressure.core.records import Label, Record, read_records
from models_under_pressure.evaluation.intervals import clopper_pearson, evidence
from models_under_pressure.evaluation.metrics import threshold_at_fpr
from models_under_pressure.evaluation.operating_points import Stored, rates_at
from models_under_pressure.evaluation.report import (
    EvaluateConfig,
    evaluate_scores,
    mean_costs,
    mean_over_seeds,
    percent,
)
from models_under_pressure.evaluation.scores import ScoreList, only, read_scores

METHODS = ("probes", "text_baseline")
"""Score files of the pipeline; language-model baselines are measured in experiments/."""


def measure(
    datasets: Sequence[Dataset],
    *,
    files: Sequence[Path],
    config: EvaluateConfig,
    seed: int,
    skipped: int = 0,
    stored: Stored | None = None,
) -> dict[str, dict[str, Any]]:
    """Dataset -> `metrics` (name -> metric) and `groups` (name -> attribute -> value -> metric).

    All methods are measured on the records that each of them has scored. Names come in the order of the score files.

    Args:
        datasets: what to measure on.
        files: score files.
        config: how scores are measured.
        seed: seed of the bootstrap.
        skipped: records of a dataset that may have no score: so many may be refused by the extraction.
        stored: thresholds of probes, whose rates are then measured as `fpr_at_stored_1pct` and so on.

    Raises:
        UserError: scores are of other records, labels or groups than those of the dataset, or two methods give one
            name.
    """
    found: dict[str, dict[str, list[ScoreList]]] = {}
    for path in files:
        lists = read_scores(path)
        known = {name for methods in found.values() for name in methods}
        for name in {scores.probe for scores in lists} & known:
            raise UserError(f"{name!r} is the name of another method too.", where=str(path), remedy="rename one.")
        for scores in lists:
            found.setdefault(scores.dataset, {}).setdefault(scores.probe, []).append(scores)
    measured: dict[str, dict[str, Any]] = {}
    for one in datasets:
        lists, known = _comparable(one, found.get(one.name, {}), skipped)
        metrics = {
            name: mean_over_seeds([_evaluated(each, config, seed) | mean_costs(each) for each in own])
            | mean_over_seeds([_at_stored(each, stored or {}, config) for each in own])
            for name, own in lists.items()
        }
        groups = {name: _groups(own, known, config, seed) for name, own in lists.items()}
        measured[one.name] = {"metrics": metrics, "groups": groups}
    return measured


def _comparable(
    dataset: Dataset, by_name: Mapping[str, list[ScoreList]], skipped: int
) -> tuple[Mapping[str, list[ScoreList]], dict[str, Record]]:
    """The scores of the records that every method has scored, and the labelled records of the dataset."""
    known = {
        record.id: record
        for record in read_records(dataset.path, dataset.classes)
        if record.label is not Label.AMBIGUOUS
    }
    for scores in (scores for lists in by_name.values() for scores in lists):
        _check(scores, known, skipped)
    scored = set(known).intersection(*(scores.ids for lists in by_name.values() for scores in lists))
    if len(scored) < len(known):
        message = "%s: %d of %d records have no score of every method: left out of all"
        logging.getLogger(__name__).warning(message, dataset.name, len(known) - len(scored), len(known))
        by_name = {name: [only(scores, scored) for scores in lists] for name, lists in by_name.items()}
    return by_name, known


def _check(scores: ScoreList, known: Mapping[str, Record], skipped: int) -> None:
    labels = [Label.HIGH if high else Label.LOW for high in scores.labels.tolist()]
    rows = dict(zip(scores.ids, zip(labels, scores.groups, strict=True), strict=True))
    expected = {id_: (one.label, one.group) for id_, one in known.items() if id_ in rows}
    if not 0 <= len(known) - len(scores.ids) <= skipped or rows != expected:
        raise UserError(
            f"the scores of {scores.probe!r} are of other records, labels or groups than {scores.dataset}.",
            where=scores.dataset,
            remedy="run the stage that scores it again.",
        )


def _evaluated(scores: ScoreList, config: EvaluateConfig, seed: int, rows: Any = slice(None)) -> dict[str, float | int]:
    """`evaluate_scores` of all records, or of some."""
    logits, labels, chance = scores.logits[rows], scores.labels[rows], scores.probabilities[rows]
    groups = np.asarray(scores.groups)[rows]
    return evaluate_scores(logits, labels, groups, config=config, seed=seed, probabilities=chance)


def _at_stored(scores: ScoreList, stored: Stored, config: EvaluateConfig) -> dict[str, float | int]:
    """`fpr_at_stored_…` and `tpr_at_stored_…` with their intervals, of the classes that the dataset has."""
    return {
        name: value
        for budget, threshold in stored.get((scores.probe, scores.seed), {}).items()
        for rate, estimate in rates_at(
            threshold, scores.logits, scores.labels, np.asarray(scores.groups), config.confidence
        ).items()
        for name, value in estimate.columns(f"{rate}_at_stored_{percent(budget)}").items()
    }


def _groups(
    lists: Sequence[ScoreList], known: Mapping[str, Record], config: EvaluateConfig, seed: int
) -> dict[str, Any]:
    """By attribute; empty where the dataset holds one class, for which there is no common threshold."""
    if lists[0].labels.all() or not lists[0].labels.any():
        return {}
    parts = [
        {
            attribute: by_attribute(one, values, config, seed)
            for attribute, values in attributes_of([known[id_] for id_ in one.ids], config).items()
        }
        for one in lists
    ]
    return {
        attribute: {value: mean_over_seeds([part[attribute][value] for part in parts]) for value in values}
        for attribute, values in parts[0].items()
    }


def by_attribute(
    scores: ScoreList, values: Sequence[str], config: EvaluateConfig, seed: int
) -> dict[str, dict[str, float | int]]:
    """`evaluate_scores` of the records of each value of an attribute (`values` has one per record), sorted by value.

    A monitor has one threshold for everybody. So each part also has the rates at the threshold that keeps the first
    budget on all records together: `tpr_at_shared_1pct` and `fpr_at_shared_1pct`, where the part has that class.

    Raises:
        ValueError: one class is missing overall, or `values` has another length.
    """
    labels, groups, attribute = scores.labels, np.asarray(scores.groups), np.asarray(values)
    if attribute.shape != labels.shape:
        raise ValueError(f"attribute values have shape {attribute.shape}, labels {labels.shape}")
    budget = config.fpr_budgets[0]
    flagged = scores.logits >= threshold_at_fpr(scores.logits, labels, budget)
    found: dict[str, dict[str, float | int]] = {}
    for value in sorted(set(values)):
        inside = attribute == value
        part = _evaluated(scores, config, seed, inside)
        sizes = evidence(labels[inside], groups[inside])
        for rate, members, size in zip(("tpr", "fpr"), (labels, ~labels), sizes, strict=True):
            if size:
                share = float(flagged[inside & members].mean())
                estimate = clopper_pearson(share * size, size, config.confidence)
                part |= estimate.columns(f"{rate}_at_shared_{percent(budget)}")
        found[value] = part
    return found


def length_bins(lengths: ArrayLike, bins: int = 4) -> list[str]:
    """Name of each record's length bin; edges are quantiles, so that the bins are about equal in number.

    Names sort by length: `1: up to 120`, `2: 121 to 300`, … (the unit is that of `lengths`).
    """
    array = np.asarray(lengths)
    edges = np.unique(np.quantile(array, np.linspace(0.0, 1.0, bins + 1)[1:], method="inverted_cdf"))
    index = np.searchsorted(edges, array, side="left")
    starts = ["up", *(f"{edge + 1:,}" for edge in edges)]
    return [f"{number + 1}: {starts[number]} to {edges[number]:,}" for number in index]


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
    found["length"] = [f"{name} characters" for name in bins]
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _value(record: Record, columns: Sequence[str]) -> str:
    fields: Mapping[str, object] = record.fields
    return next((str(fields[name]).strip() for name in columns if fields.get(name) not in (None, "")), "not recorded")


def _pooled(values: Sequence[str], least: int) -> list[str]:
    counts = Counter(values)
    rare = {value for value, count in counts.items() if count < least}
    other = f"other ({len(rare)} values)"
    return [other if value in rare and len(rare) > 1 else value for value in values]


def read_evaluated(path: Path, probes: Sequence[str]) -> dict[str, Any]:
    """`metrics` and `groups` of a dataset: the probes in the order given, then the baselines by name.

    Raises:
        UserError: the file is missing.
    """
    found: dict[str, dict[str, Any]] = read_json(path)

    def place(item: tuple[str, Any]) -> tuple[int, str]:
        name = item[0]
        return (probes.index(name), "") if name in probes else (len(probes), name)

    return {what: dict(sorted(found[what].items(), key=place)) for what in ("metrics", "groups")}
