"""Where a revision keeps things: commits from before a dataset version was one folder are read too."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from models_under_pressure.core.in_use import PURPOSES
from models_under_pressure.datasets.files import split_path

DATASETS = ("data/evals/", "data/training/", "data/deployment/")
SCORES = ("data/results/scores/", "data/experiments/scores/")
REPLIES = "data/replies/"
PROBES = "data/probes/"
INTERVALS = ("metrics/intervals.json", "metrics/experiments_intervals.json")

_OLD_EVALS = re.compile(r"data/evals/(?:dev|test)/((\w+?)(?:_test)?_(?:raw|balanced|samples)_(\w+)\.jsonl)")


class Used(NamedTuple):
    """A dataset in use."""

    path: str
    purpose: str


def today(path: str) -> str:
    """Where a dataset file of an old commit would lie today: in the folder of its version."""
    found = _OLD_EVALS.fullmatch(path)
    return f"data/evals/{found[2]}_{found[3]}/{found[1]}" if found else path


def datasets_in_use(lineage: Mapping[str, Any]) -> dict[str, Used]:
    """Name -> file and purpose, from data/versions.yaml of either form."""
    section: Mapping[str, Any] = lineage.get("datasets") or {}
    if all(isinstance(entry, dict) and entry.keys() == {"path", "purpose"} for entry in section.values()):
        return {name: Used(today(entry["path"]), entry["purpose"]) for name, entry in section.items()}
    names: Mapping[str, Any] = lineage.get("sources") or {}
    sources = sorted(names, key=len, reverse=True)
    return {
        name: Used(_file(value, purpose, sources), purpose)
        for purpose in PURPOSES
        for name, value in (section.get(purpose) or {}).items()
    }


def aurocs(metrics: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Dataset -> method -> metrics, from metrics/evaluate.json of either form."""
    values = metrics.get("auroc")
    if isinstance(values, dict) and all(
        isinstance(value, float | int) for methods in values.values() for value in methods.values()
    ):
        return {name: {method: {"auroc": one} for method, one in methods.items()} for name, methods in values.items()}
    return {name: dict(methods) for name, methods in metrics.items()}


def overlap_pairs(overlap: Mapping[str, Any]) -> dict[str, int]:
    """Version -> pairs of overlapping rows, from metrics/overlap.json of either form."""
    return {name: found["pairs"] if isinstance(found, dict) else found for name, found in overlap.items()}


def _file(value: str, purpose: str, sources: list[str]) -> str:
    """Path of a file, or of the balanced split of a version."""
    source = next((name for name in sources if value.startswith(f"{name}_")), None)
    if source is None or "/" in value or value.endswith(".jsonl"):
        return value
    return split_path(source, value.removeprefix(f"{source}_"), purpose, kind="balanced").as_posix()
