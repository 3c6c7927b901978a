"""Which records of a dataset are worth a look, by their scores."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from models_under_pressure.evaluation.scores import ScoreList

Choice = Literal["highest", "lowest", "most_wrong", "most_uncertain"]

_DISTANCES: dict[Choice, Callable[[ScoreList], Float[np.ndarray, "records"]]] = {
    "highest": lambda scores: -scores.logits,
    "lowest": lambda scores: scores.logits,
    "most_wrong": lambda scores: -np.abs(scores.probabilities - scores.labels),
    "most_uncertain": lambda scores: np.abs(scores.probabilities - 0.5),
}
"""What is smallest where the choice falls first."""


def choose_records(scores: ScoreList, choices: Sequence[Choice], most: int) -> dict[str, list[Choice]]:
    """The first `most` records of each choice: id -> the choices that it was made by, of equal ones the lower id.

    Only a record on the wrong side of 0.5 is wrong, so that a good monitor may have fewer of these.
    """
    found: dict[str, list[Choice]] = {}
    wrong = np.abs(scores.probabilities - scores.labels) > 0.5
    for choice in choices:
        distances = _DISTANCES[choice](scores)
        order = sorted(range(len(scores.ids)), key=lambda row: (float(distances[row]), scores.ids[row]))
        for row in [row for row in order if choice != "most_wrong" or wrong[row]][:most]:
            found.setdefault(scores.ids[row], []).append(choice)
    return found
