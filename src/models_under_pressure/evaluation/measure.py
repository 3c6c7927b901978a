"""Every metric of the scores that methods gave datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.core.paths import Dataset
from models_under_pressure.core.records import Label, Record, read_records
from models_under_pressure.evaluation.breakdown import attributes_of, by_attributes
from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores, mean_costs
from models_under_pressure.evaluation.scores import ScoreList, read_scores
from models_under_pressure.evaluation.summary import mean_over_seeds


def measure(
    datasets: Sequence[Dataset], *, files: Sequence[Path], config: EvaluateConfig, seed: int
) -> dict[str, dict[str, Any]]:
    """Dataset -> `metrics` (name -> metric) and `groups` (name -> attribute -> value -> metric).

    Args:
        datasets: the datasets; ambiguous records have no score.
        files: score files, in this order.
        config: which metrics, and how their intervals are drawn.
        seed: seed of the bootstrap.

    Raises:
        UserError: scores are of other records, labels or groups than those of the dataset, or two methods give one
            name.
    """
    found = read_methods(files)
    return {one.name: _measure(one, found.get(one.name, {}), config, seed) for one in datasets}


def read_methods(files: Sequence[Path]) -> dict[str, dict[str, list[ScoreList]]]:
    """Dataset -> method -> its score lists, one per seed, in the order of the files.

    Raises:
        UserError: two files give one name.
    """
    found: dict[str, dict[str, list[ScoreList]]] = {}
    for path in files:
        lists = read_scores(path)
        known = {name for methods in found.values() for name in methods}
        for name in {scores.probe for scores in lists} & known:
            raise UserError(f"{name!r} is the name of another method too.", where=str(path), remedy="rename one.")
        for scores in lists:
            found.setdefault(scores.dataset, {}).setdefault(scores.probe, []).append(scores)
    return found


def _measure(
    dataset: Dataset, by_name: Mapping[str, list[ScoreList]], config: EvaluateConfig, seed: int
) -> dict[str, Any]:
    known = {record.id: record for record in read_records(dataset.path) if record.label is not Label.AMBIGUOUS}
    for scores in (scores for lists in by_name.values() for scores in lists):
        _check(scores, known)
    return {
        "metrics": {name: _metrics(lists, config, seed) for name, lists in by_name.items()},
        "groups": {name: _groups(lists, known, config, seed) for name, lists in by_name.items()},
    }


def _check(scores: ScoreList, known: Mapping[str, Record]) -> None:
    rows = zip(scores.ids, scores.labels.tolist(), scores.groups, strict=True)
    same = len(scores.ids) == len(known) and all(
        id_ in known and known[id_].label is (Label.HIGH if high else Label.LOW) and known[id_].group == group
        for id_, high, group in rows
    )
    if not same:
        raise UserError(
            f"the scores of {scores.probe!r} are of other records, labels or groups than {scores.dataset}.",
            where=scores.dataset,
            remedy="run the stage that scores it again.",
        )


def _metrics(lists: Sequence[ScoreList], config: EvaluateConfig, seed: int) -> dict[str, float | int]:
    return mean_over_seeds(
        [
            evaluate_scores(
                one.logits, one.labels, one.groups, probabilities=one.probabilities, config=config, seed=seed
            )
            | mean_costs(one)
            for one in lists
        ]
    )


def _groups(
    lists: Sequence[ScoreList], known: Mapping[str, Record], config: EvaluateConfig, seed: int
) -> dict[str, Any]:
    """By attribute; empty where the dataset holds one class, for which there is no common threshold."""
    if lists[0].labels.all() or not lists[0].labels.any():
        return {}
    parts = [
        by_attributes(
            one.logits,
            one.labels,
            one.groups,
            attributes_of([known[id_] for id_ in one.ids], config),
            probabilities=one.probabilities,
            config=config,
            seed=seed,
        )
        for one in lists
    ]
    return {
        attribute: {value: mean_over_seeds([part[attribute][value] for part in parts]) for value in values}
        for attribute, values in parts[0].items()
    }


METHODS = ("probes", "text_baseline")
"""Score files of the pipeline; language-model baselines are measured in experiments/."""


def read_evaluated(path: Path, probes: Sequence[str]) -> dict[str, Any]:
    """`metrics` and `groups` of a dataset: the probes in the order given, then the baselines by name.

    Raises:
        UserError: the file is missing.
    """
    found = read_json(path)
    return {what: _ordered(found[what], probes) for what in ("metrics", "groups")}


def _ordered(found: dict[str, Any], probes: Sequence[str]) -> dict[str, Any]:
    names = [name for name in probes if name in found]
    return {name: found[name] for name in [*names, *sorted(found.keys() - set(names))]}
