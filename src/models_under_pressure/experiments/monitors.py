"""The scores that monitors gave, by dataset and name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from models_under_pressure.errors import UserError
from models_under_pressure.evaluation.scores import ScoreList

Scores = Mapping[str, Mapping[str, ScoreList]]
"""Dataset -> monitor -> its scores, the first seed."""


def first_seeds(lists: Sequence[ScoreList]) -> dict[str, dict[str, ScoreList]]:
    """Scores by dataset and monitor, the first seed of each, records sorted by id."""
    found: dict[str, dict[str, ScoreList]] = {}
    for scores in sorted(lists, key=lambda scores: scores.seed):
        found.setdefault(scores.dataset, {}).setdefault(scores.probe, _by_id(scores))
    return found


def find_monitor(found: Mapping[str, ScoreList], name: str, dataset: str, *, named_in: str) -> ScoreList:
    """The scores of one monitor on one dataset; `named_in` is the parameter that names it.

    Raises:
        UserError: there are none.
    """
    if name not in found:
        raise UserError(
            f"{name!r} has no scores of {dataset} (there are: {', '.join(sorted(found))}).",
            remedy=f"name monitors of evaluate.methods in {named_in}.",
        )
    return found[name]


def _by_id(scores: ScoreList) -> ScoreList:
    order = np.array(sorted(range(len(scores.ids)), key=scores.ids.__getitem__))
    return replace(
        scores,
        ids=tuple(scores.ids[row] for row in order),
        groups=tuple(scores.groups[row] for row in order),
        labels=scores.labels[order],
        logits=scores.logits[order],
        probabilities=scores.probabilities[order],
        tokens=None if scores.tokens is None else scores.tokens[order],
        flops=None if scores.flops is None else scores.flops[order],
    )
