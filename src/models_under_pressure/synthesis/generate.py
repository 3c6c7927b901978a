"""The training prompts: situations, prompts for them, and the pairs that may be used."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models_under_pressure.files import stable_hash
from models_under_pressure.llm.ask import Answer, Asker, Failure
from models_under_pressure.records import Record
from models_under_pressure.synthesis.questions import SituationPair, prompt_question, situation_question
from models_under_pressure.synthesis.sampling import (
    ID_LENGTH,
    Factors,
    Variation,
    in_test_split,
    sample_factors,
    sample_variations,
)


class SynthesisConfig(BaseModel):
    """How many training prompts are asked for, and how they vary."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    situations: int = Field(ge=1)
    """Situation pairs; a larger number extends a smaller run."""
    prompts_per_situation: int = Field(ge=1)
    """Prompt pairs written for each situation pair."""
    test_fraction: float = Field(ge=0, lt=1)
    """Chance of a situation, with all its prompts, to be in the test split."""
    language_weights: dict[str, float]
    """Chance of each language."""

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> "SynthesisConfig":
        total = sum(self.language_weights.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"language_weights sum to {total:g}, not to 1")
        return self


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What is varied: factors of the situations, and manners of writing."""

    factors: Mapping[str, Sequence[str]]
    variations: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Generated:
    """The prompts written, the pairs refused, and the questions without an answer."""

    records: Sequence[Record]
    refused: Sequence[str]
    """Ids of pairs that the model declined to write or left empty."""
    failures: Sequence[Failure]


def pair_id(situation_id: str, index: int) -> str:
    """Id of the prompt pair number `index` (from 0) of a situation."""
    return stable_hash("pair", situation_id, index)[:ID_LENGTH]


@dataclass(frozen=True, slots=True)
class _Pair:
    id: str
    factors: Factors
    variation: Variation
    situations: SituationPair


def generate(config: SynthesisConfig, vocabulary: Vocabulary, *, ask: Asker, seed: int) -> Generated:
    """Ask for situations, then for prompts; every row knows its pair, its situation and its split."""
    factors = sample_factors(vocabulary.factors, count=config.situations, seed=seed)
    situations = ask([situation_question(one) for one in factors])
    pairs = [
        _Pair(pair_id(one.situation_id, index), one, variation, answer.value)
        for one, answer in zip(factors, situations, strict=True)
        if isinstance(answer, Answer)
        for index, variation in enumerate(
            sample_variations(
                vocabulary.variations,
                situation_id=one.situation_id,
                count=config.prompts_per_situation,
                language_weights=config.language_weights,
                seed=seed,
            )
        )
    ]
    answers = ask([prompt_question(p.id, p.situations, p.variation, vocabulary.variations) for p in pairs])
    records: list[Record] = []
    refused: list[str] = []
    for pair, answer in zip(pairs, answers, strict=True):
        if isinstance(answer, Failure):
            continue
        prompts = (answer.value.prompt_1.strip(), answer.value.prompt_2.strip())
        if not all(prompts) or any(prompt.casefold().strip(".\"'") == "refuse" for prompt in prompts):
            refused.append(pair.id)
            continue
        split = (
            "test"
            if in_test_split(pair.factors.situation_id, test_fraction=config.test_fraction, seed=seed)
            else "train"
        )
        records += [
            _record(pair, text, high=high, split=split) for text, high in zip(prompts, (True, False), strict=True)
        ]
    failures = [answer for answer in (*situations, *answers) if isinstance(answer, Failure)]
    return Generated(records, refused, failures)


def _record(pair: _Pair, text: str, *, high: bool, split: str) -> Record:
    fields = {
        "pair_id": pair.id,
        "situation_id": pair.factors.situation_id,
        "high_stakes": high,
        "split": split,
        **asdict(pair.factors),
        **asdict(pair.variation),
    }
    return Record(id=stable_hash("prompt", pair.id, high, text)[:ID_LENGTH], input=text, fields=fields)
