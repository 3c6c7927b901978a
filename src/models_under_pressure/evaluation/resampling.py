"""Grouped bootstrap: whole groups are drawn with replacement, within strata of equal class make-up.

Records of one group (a pair of prompts, the conversations cut from one source row) share what they are about, so that
drawing them one by one would count one piece of evidence several times.

Groups are stratified by the classes they hold (only high-stakes, only low-stakes, both), and every stratum keeps its
number of groups. The evaluation sets are balanced by recipe, so that the class mix is a design choice and not a
finding; and a resample that holds one class only, for which no ranking metric is defined, cannot occur.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from models_under_pressure.evaluation.inputs import group_indices

_CHUNK_CELLS = 30_000
"""Weights held at once (resamples x records): a chunk that stays in a processor's cache is twice as fast."""

Statistic = Callable[[Float[np.ndarray, "resamples records"]], Mapping[str, Float[np.ndarray, "resamples"]]]
"""Metrics of every weighting of the records."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How to resample a set of records."""

    group_of: Int[np.ndarray, "records"]
    strata: tuple[Int[np.ndarray, "groups"], ...]
    """Numbers of the groups drawn together."""

    @property
    def groups(self) -> int:
        """Number of groups."""
        return sum(len(stratum) for stratum in self.strata)


def plan(labels: Bool[np.ndarray, "records"], groups: ArrayLike | None = None) -> Plan:
    """Stratify the groups (each record its own when not given) by the classes they hold."""
    group_of = group_indices(groups, len(labels))
    holds_high = np.bincount(group_of, weights=labels) > 0
    holds_low = np.bincount(group_of, weights=~labels) > 0
    kind = holds_high + 2 * holds_low
    return Plan(group_of, tuple(np.flatnonzero(kind == value) for value in np.unique(kind)))


def draw(plan: Plan, resamples: int, generator: np.random.Generator) -> Iterator[Int[np.ndarray, "chunk records"]]:
    """Yield weights: how often each record occurs in each resample, a chunk of resamples at a time.

    The draws depend on the groups' names and classes, never on the order of the records or on any score.
    """
    records, groups = len(plan.group_of), plan.groups
    chunk = max(1, _CHUNK_CELLS // max(records, groups))
    alone = groups == records and np.array_equal(plan.group_of, np.arange(records))
    # One stream per stratum: the draws do not depend on how resamples are cut into chunks.
    streams = generator.spawn(len(plan.strata))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        counts = np.zeros((size, groups), dtype=np.int32)
        row = np.arange(size)[:, None]
        for stratum, stream in zip(plan.strata, streams, strict=True):
            drawn = stream.integers(0, len(stratum), size=(size, len(stratum)), dtype=np.int32)
            flat = np.bincount((row * len(stratum) + drawn).ravel(), minlength=size * len(stratum))
            counts[:, stratum] = flat.reshape(size, len(stratum))
        yield counts if alone else counts[:, plan.group_of]


def replicate(
    statistic: Statistic, plan: Plan, resamples: int, generator: np.random.Generator
) -> dict[str, Float[np.ndarray, "resamples"]]:
    """The statistic's metrics on every resample."""
    parts = [statistic(weights) for weights in draw(plan, resamples, generator)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
