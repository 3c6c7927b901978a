"""Cascades: a cheap monitor scores everything, an expensive one the records that are hardest for it.

McKenzie et al. 2025, section 5: the records nearest the median rank of the first monitor's scores go to the second one,
and there the two probabilities are averaged.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64

Selection = Literal["mid", "top", "uncertain", "random"]
"""Who goes on: those nearest the median rank; the highest; those whose probability is nearest 1/2; or a random part,
the control that any selection must beat."""

Merge = Literal["mean", "max", "second"]
"""What the score of a record becomes that both monitors saw."""


def select(
    first: Float[np.ndarray, "records"], share: float, selection: Selection, *, seed: int = 0
) -> Bool[np.ndarray, "records"]:
    """Which records go on: floor(share x records) of them.

    `mid` takes the ranks from N // 2 - n // 2 on, as the paper's code does. Equal scores are taken in the order given.

    Raises:
        ValueError: the share is outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share {share} is outside [0, 1]")
    records = len(first)
    count = int(np.floor(share * records + 1e-9))
    order = np.argsort(first, kind="stable")
    if selection == "mid":
        start = records // 2 - count // 2
        chosen = order[start : start + count]
    elif selection == "top":
        chosen = order[records - count :]
    elif selection == "uncertain":
        chosen = np.argsort(np.abs(first - 0.5), kind="stable")[:count]
    else:
        chosen = np.random.default_rng(seed).permutation(records)[:count]
    mask = np.zeros(records, dtype=bool)
    mask[chosen] = True
    return mask


def merge(
    first: Float[np.ndarray, "records"],
    second: Float[np.ndarray, "records"],
    selected: Bool[np.ndarray, "records"],
    how: Merge,
) -> Float[np.ndarray, "records"]:
    """Probabilities of the cascade; records that are not selected keep the first monitor's."""
    both = {"mean": (first + second) / 2, "max": np.maximum(first, second), "second": second}[how]
    return np.where(selected, both, first)


def cost(
    first: Int64[np.ndarray, "records"], second: Int64[np.ndarray, "records"], selected: Bool[np.ndarray, "records"]
) -> Float[np.ndarray, "records"]:
    """FLOPs of each record: the first monitor's, and of selected records the second one's too."""
    return np.where(selected, first.astype(np.float64) + second, first)


def pareto(costs: Float[np.ndarray, "points"], values: Float[np.ndarray, "points"]) -> Bool[np.ndarray, "points"]:
    """Points that no other beats: none costs at most as much and is better, or is as good and costs less."""
    order = np.lexsort((-values, costs))
    front = np.zeros(len(costs), dtype=bool)
    best = -np.inf
    for index in order:
        if values[index] > best:
            front[index] = True
            best = values[index]
    return front
