"""The scores that monitors gave, by dataset and name: probes, text baselines and language models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, scores_path
from models_under_pressure.core.section import EXPERIMENTS, read
from models_under_pressure.evaluation.measure import METHODS
from models_under_pressure.evaluation.scores import ScoreList, by_id, read_scores

Scores = Mapping[str, Mapping[str, ScoreList]]
"""Dataset -> monitor -> its scores, the first seed."""


def language_models() -> dict[str, dict[str, Any]]:
    """Method -> its entry in experiments/params.yaml, of every language model there."""
    sections = {
        "prompted": read("prompt_baseline", dict[str, Any], EXPERIMENTS),
        "finetuned": read("finetune_baseline", dict[str, Any], EXPERIMENTS),
        "asked": read("ask_baseline", dict[str, Any], EXPERIMENTS),
        "guard": read("guard_baseline", dict[str, Any], EXPERIMENTS),
    }
    return {f"{kind}_{name}": entry for kind, section in sections.items() for name, entry in section["models"].items()}


def language_model_files() -> list[Path]:
    """Score files of the language models."""
    return [scores_path(method, EXPERIMENT_RESULTS) for method in language_models()]


def read_monitors(datasets: Sequence[str]) -> Scores:
    """Scores of these datasets by every monitor of both pipelines, in the order of `datasets`.

    Raises:
        UserError: a score file is missing.
    """
    files = [*(scores_path(method) for method in METHODS), *language_model_files()]
    found = first_seeds([scores for file in files for scores in read_scores(file)])
    return {name: found.get(name, {}) for name in datasets}


def first_seeds(lists: Sequence[ScoreList]) -> dict[str, dict[str, ScoreList]]:
    """Scores by dataset and monitor, the first seed of each, records sorted by id."""
    found: dict[str, dict[str, ScoreList]] = {}
    for scores in sorted(lists, key=lambda scores: scores.seed):
        found.setdefault(scores.dataset, {}).setdefault(scores.probe, by_id(scores))
    return found


def find_monitor(found: Mapping[str, ScoreList], name: str, dataset: str, *, named_in: str) -> ScoreList:
    """The scores of one monitor on one dataset; `named_in` is the parameter that names it.

    Raises:
        UserError: there are none.
    """
    if name not in found:
        raise UserError(
            f"{name!r} has no scores of {dataset} (there are: {', '.join(sorted(found))}).",
            remedy=f"name one of these in {named_in}.",
        )
    return found[name]
