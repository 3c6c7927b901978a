"""What is varied: the factors of the situations, and the manners of writing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.synthesis.sampling import Factors, Variation


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What is varied, and the words that tell."""

    factors: Mapping[str, Sequence[str]]
    """Factor -> its values."""
    variations: Mapping[str, Mapping[str, object]]
    """Variation -> name of a value -> how the question describes it."""
    telling_words: Mapping[str, Sequence[str]]
    """`high` and `low` -> words that suggest this class without being its reason."""


def load_vocabulary(folder: Path) -> Vocabulary:
    """Read situation_factors.json, prompt_variations.json and telling_words.json.

    Raises:
        UserError: a file is missing, or lacks a list or has one that is not known.
    """
    return Vocabulary(
        factors=_read(folder / "situation_factors.json", [field.name for field in fields(Factors)]),
        variations=_read(folder / "prompt_variations.json", [field.name for field in fields(Variation)]),
        telling_words=_read(folder / "telling_words.json", ["high", "low"]),
    )


def check_languages(vocabulary: Vocabulary, weights: Mapping[str, float]) -> None:
    """See that the weights name the languages of the vocabulary.

    Raises:
        UserError: a language has no weight, or a weight no language.
    """
    languages = set(vocabulary.variations["language"])
    if odd := languages.symmetric_difference(weights):
        raise UserError(
            f"only one of language_weights and the vocabulary has {', '.join(sorted(odd))}.",
            where="params.yaml: synthesise.language_weights",
            remedy=f"give a weight to each of {', '.join(sorted(languages))}, 0 if it is not wanted.",
        )


def _read(path: Path, names: Sequence[str]) -> Any:
    values = read_json(path)
    if not isinstance(values, dict) or set(values) != set(names) or not all(values.values()):
        raise UserError(
            f"does not hold exactly the lists {', '.join(names)}, none empty.",
            where=str(path),
            remedy="correct the file.",
        )
    return values
