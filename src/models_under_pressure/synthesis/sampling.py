"""Which situations and which variations of a prompt are asked for.

Every draw is a stable hash of the seed and of what is drawn, so that a larger run extends a smaller one and never
changes it, whatever the process, the hash seed or the order of the work.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash, stable_uniform

ID_LENGTH = 12
"""Hex digits of an id: 48 bits, a chance of 1e-7 of one clash among 8,000."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What a pair of situations is about."""

    role_of_user: str
    impact_factor: str
    topic: str

    @property
    def situation_id(self) -> str:
        """Content hash of the factors."""
        return stable_hash("situation", asdict(self))[:ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Variation:
    """How a pair of prompts is written."""

    prompt_style: str
    tone: str
    language: str
    length: str


def sample_factors(vocabulary: Mapping[str, Sequence[str]], *, count: int, seed: int) -> list[Factors]:
    """Draw `count` combinations without replacement; a larger count extends the list.

    Raises:
        UserError: there are fewer combinations than asked for.
    """
    combinations = [
        Factors(role_of_user=role, impact_factor=impact, topic=topic)
        for role, impact, topic in itertools.product(
            vocabulary["role_of_user"], vocabulary["impact_factor"], vocabulary["topic"]
        )
    ]
    if count > len(combinations):
        raise UserError(
            f"{count} situations asked for, but the factors give {len(combinations)} combinations.",
            where="params.yaml: synthesise.situations",
            remedy="lower the number or add factors to data/inputs/situation_factors.json.",
        )
    return sorted(combinations, key=lambda factors: stable_hash(seed, "situation", asdict(factors)))[:count]


def sample_variations(
    vocabulary: Mapping[str, Mapping[str, object]],
    *,
    situation_id: str,
    count: int,
    language_weights: Mapping[str, float],
    seed: int,
) -> list[Variation]:
    """Draw how each of the `count` prompt pairs of one situation is written."""
    return [
        Variation(
            **{
                name: _choose(
                    list(values),
                    weights=[language_weights[value] for value in values] if name == "language" else None,
                    at=stable_uniform(seed, "variation", situation_id, index, name),
                )
                for name, values in vocabulary.items()
            }
        )
        for index in range(count)
    ]


def in_test_split(situation_id: str, *, test_fraction: float, seed: int) -> bool:
    """Whether a situation, with all its prompts, belongs to the test split."""
    return stable_uniform(seed, "split", situation_id) < test_fraction


def _choose(values: list[str], *, weights: list[float] | None, at: float) -> str:
    cumulative = list(itertools.accumulate(weights or [1.0] * len(values)))
    threshold = at * cumulative[-1]
    return next((value for value, edge in zip(values, cumulative, strict=True) if threshold < edge), values[-1])
