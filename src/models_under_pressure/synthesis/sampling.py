"""Which situations and which variations of a prompt are asked for.

Every draw is a stable hash of the seed and of what is drawn, so that a larger run extends a smaller one and never
changes it, whatever the process, the hash seed or the order of the work.
"""

import itertools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from models_under_pressure.core import concept
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json, stable_hash, stable_uniform

ID_LENGTH = 12
"""Hex digits of an id: 48 bits, a chance of 1e-7 of one clash among 8,000."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Person, cause of seriousness and topic of a pair of situations."""

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


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Values of the factors and variations."""

    factors: Mapping[str, Sequence[str]]
    """Factor -> its values."""
    variations: Mapping[str, Mapping[str, object]]
    """Variation -> name of a value -> how the question describes it."""


def sample_factors(vocabulary: Mapping[str, Sequence[str]], *, count: int, seed: int) -> list[Factors]:
    """Draw `count` combinations without replacement; a larger count extends the list.

    Raises:
        UserError: there are fewer combinations than asked for.
    """
    names = [field.name for field in fields(Factors)]
    values = itertools.product(*(vocabulary[name] for name in names))
    combinations = [dict(zip(names, one, strict=True)) for one in values]
    if count > len(combinations):
        problem = f"{count} situations asked for, but the factors give {len(combinations)} combinations."
        remedy = "lower the number, or add to the concept's `synthesis.factors`."
        raise UserError(problem, where="params.yaml: synthesise.situations", remedy=remedy)
    drawn = sorted(combinations, key=lambda factors: stable_hash(seed, "situation", factors))[:count]
    return [Factors(**factors) for factors in drawn]


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


def load_vocabulary(folder: Path, factors: concept.Factors) -> Vocabulary:
    """The factors of a concept, and the variations of prompt_variations.json.

    Raises:
        UserError: a file is missing, or lacks a list or has one that is not known.
    """
    return Vocabulary(
        factors=factors.model_dump(),
        variations=_read(folder / "prompt_variations.json", [field.name for field in fields(Variation)]),
    )


def check_languages(vocabulary: Vocabulary, weights: Mapping[str, float]) -> None:
    """See that the weights name the languages of the vocabulary.

    Raises:
        UserError: a language has no weight, or a weight no language.
    """
    languages = set(vocabulary.variations["language"])
    if odd := languages.symmetric_difference(weights):
        problem = f"only one of language_weights and the vocabulary has {', '.join(sorted(odd))}."
        remedy = f"give a weight to each of {', '.join(sorted(languages))}, 0 if it is not wanted."
        raise UserError(problem, where="params.yaml: synthesise.language_weights", remedy=remedy)


def _choose(values: list[str], *, weights: list[float] | None, at: float) -> str:
    edges = list(itertools.accumulate(weights or [1.0] * len(values)))
    return values[min(bisect_right(edges, at * edges[-1]), len(values) - 1)]


def _read(path: Path, names: Sequence[str]) -> Any:
    found: Any = read_json(path)
    values = cast("dict[str, Any]", found if isinstance(found, dict) else {})
    if set(values) != set(names) or not all(values.values()):
        problem = f"does not hold exactly the lists {', '.join(names)}, none empty."
        raise UserError(problem, where=str(path), remedy="correct the file.")
    return values
