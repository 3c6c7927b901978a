"""The scores that monitors gave, by dataset and name."""

from collections.abc import Mapping, Sequence

from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.scores import ScoreList, by_id

Scores = Mapping[str, Mapping[str, ScoreList]]
"""Dataset -> monitor -> its scores, the first seed."""


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
            remedy=f"name monitors of evaluate.methods in {named_in}.",
        )
    return found[name]
