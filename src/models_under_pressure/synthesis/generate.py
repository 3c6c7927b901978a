"""The training prompts as they are asked for: situations, then prompts for them.

A share of the pairs is rewritten so that the words tell less of the stakes, or the opposite: both prompts in one
question, so that they stay a minimal pair. The copies are rows of their own, with ids of their own, and are labelled
anew: a rewrite that changed the stakes does not survive. What the model would not rewrite is reported, and gives no
row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeVar

from pydantic import BaseModel

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.files import stable_hash, stable_uniform
from models_under_pressure.core.records import Record
from models_under_pressure.llm.ask import Answer, Ask, Asker, Failure, Form, load_prompt
from models_under_pressure.synthesis.sampling import (
    ID_LENGTH,
    Factors,
    Variation,
    Vocabulary,
    check_languages,
    in_test_split,
    sample_factors,
    sample_variations,
)
from models_under_pressure.synthesis.selection import SynthesisConfig, pairs_of

T = TypeVar("T", bound=BaseModel)

PACKAGE = "models_under_pressure.synthesis"
"""Where the prompts are."""
ORIGINAL = "original"
"""Value of the column `variant` of a prompt as it was first written."""


class SituationPair(Form):
    """Two situations that differ in stakes."""

    high_stakes: str
    low_stakes: str


class PromptPair(Form):
    """Two prompts: the first for the high-stakes situation, the second for the low-stakes one."""

    prompt_1: str
    prompt_2: str


def situation_question(factors: Factors) -> Ask[SituationPair]:
    """Ask for a pair of situations."""
    facts = (
        f"Person: {factors.role_of_user}\nTopic: {factors.topic}\n"
        f"What makes the first situation serious: {factors.impact_factor}"
    )
    return _question(factors.situation_id, "situation", facts, SituationPair)


def prompt_question(
    pair_id: str,
    situations: SituationPair,
    variation: Variation,
    vocabulary: Mapping[str, Mapping[str, object]],
    *,
    sample: int = 0,
) -> Ask[PromptPair]:
    """Ask for a pair of prompts, written in one manner; `sample` tells the same question asked again from the first."""
    manner = {name: vocabulary[name][getattr(variation, name)] for name in vocabulary}
    facts = (
        f"Situation 1: {situations.high_stakes}\n\nSituation 2: {situations.low_stakes}\n\n"
        f"Form: {manner['prompt_style']}\nTone: {manner['tone']}\nLanguage: {manner['language']}\n"
        f"Length of each: about {manner['length']} words"
    )
    return _question(pair_id, "prompt_pair", facts, PromptPair, sample=sample)


def _question(id_: str, prompt: str, text: str, reply: type[T], *, added: str = "", sample: int = 0) -> Ask[T]:
    """The prompt of that name (and what is added to it) put to the model with a text."""
    system = Message("system", load_prompt(PACKAGE, prompt) + added)
    return Ask(record_id=id_, messages=(system, Message("user", text)), reply=reply, sample=sample)


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote, the pairs that it would not write, and the questions without an answer."""

    records: Sequence[Record]
    """In the order of sampling, or of what they were made from: the rows of a smaller run come first."""
    refused: Sequence[str] = ()
    """Ids of the pairs that the model declined, left empty, or gave back as they were."""
    failures: Sequence[Failure] = ()


def pair_id(situation_id: str, index: int) -> str:
    """Id of the prompt pair number `index` (from 0) of a situation."""
    return stable_hash("pair", situation_id, index)[:ID_LENGTH]


def usable(*prompts: str) -> bool:
    """Whether the model wrote the prompts: none is empty or the word "refuse"."""
    return not any(prompt.casefold().strip(" .!\"'“”„«»") in ("", "refuse") for prompt in prompts)


@dataclass(frozen=True, slots=True)
class _Pair:
    id: str
    factors: Factors
    variation: Variation
    situations: SituationPair
    again: int
    """Earlier pairs of the situation with the same variation: the same question, asked once more."""


def generate(config: SynthesisConfig, vocabulary: Vocabulary, *, ask: Asker, seed: int) -> Written:
    """Ask for situations, then for prompts; every row knows its pair, its situation and its split.

    Raises:
        UserError: there are fewer combinations of factors than situations asked for, or the language weights do not
            name the languages.
    """
    check_languages(vocabulary, config.language_weights)
    factors = sample_factors(vocabulary.factors, count=config.situations, seed=seed)
    situations = ask([situation_question(one) for one in factors])
    pairs = [
        pair
        for one, answer in zip(factors, situations, strict=True)
        if isinstance(answer, Answer)
        for pair in _pairs(one, answer.value, config, vocabulary, seed)
    ]
    manners = vocabulary.variations
    answers = ask([prompt_question(one.id, one.situations, one.variation, manners, sample=one.again) for one in pairs])
    records: list[Record] = []
    refused: list[str] = []
    for pair, answer in zip(pairs, answers, strict=True):
        if isinstance(answer, Failure):
            continue
        if not usable(answer.value.prompt_1, answer.value.prompt_2):
            refused.append(pair.id)
            continue
        records += _rows(pair, answer.value, test_fraction=config.test_fraction, seed=seed)
    failures = [answer for answer in (*situations, *answers) if isinstance(answer, Failure)]
    return Written(records, refused, failures)


def _pairs(
    factors: Factors, situations: SituationPair, config: SynthesisConfig, vocabulary: Vocabulary, seed: int
) -> list[_Pair]:
    variations = sample_variations(
        vocabulary.variations,
        situation_id=factors.situation_id,
        count=config.prompts_per_situation,
        language_weights=config.language_weights,
        seed=seed,
    )
    return [
        _Pair(pair_id(factors.situation_id, index), factors, variation, situations, variations[:index].count(variation))
        for index, variation in enumerate(variations)
    ]


def _rows(pair: _Pair, prompts: PromptPair, *, test_fraction: float, seed: int) -> list[Record]:
    situation_id = pair.factors.situation_id
    shared = {
        "pair_id": pair.id,
        "situation_id": situation_id,
        "split": "test" if in_test_split(situation_id, test_fraction=test_fraction, seed=seed) else "train",
        "variant": ORIGINAL,
        **asdict(pair.factors),
        **asdict(pair.variation),
    }
    texts = {True: prompts.prompt_1.strip(), False: prompts.prompt_2.strip()}
    return [
        Record(stable_hash("prompt", pair.id, high, text)[:ID_LENGTH], text, fields={**shared, "high_stakes": high})
        for high, text in texts.items()
    ]


Rewriting = Literal["neutralise", "manipulate"]
VARIANTS: dict[Rewriting, str] = {"neutralise": "neutralised", "manipulate": "manipulated"}
"""Rewriting -> what the column `variant` of its rows says."""


class RewrittenPair(Form):
    """A pair of prompts in other words: the first has the high stakes."""

    prompt_1: str
    prompt_2: str


class Metadata(Form):
    """What kind of situation a prompt describes."""

    stakes: Literal["high-stakes", "low-stakes", "ambiguous"]
    social: Literal["yes", "no"]
    """Whether what follows matters mainly between people."""
    temporal: Literal["immediate", "far-away"]
    """When what follows comes."""
    causality: Literal["direct", "indirect"]
    """Whether the weightiest consequence follows from the act itself."""
    subject: Literal["model", "user", "other"]
    """Whom the outcome concerns most."""
    reward: Literal["low", "high"]
    """What that one could gain."""
    risk: Literal["low", "high"]
    """What that one could lose."""


WORDS: dict[type[BaseModel], int] = {SituationPair: 60, PromptPair: 90, RewrittenPair: 90}
"""Usual words of each text in a reply; prompts are asked for with 20, 50, 100 and 200 alike."""


def rewrite(
    records: Sequence[Record],
    rewriting: Rewriting,
    *,
    share: float,
    telling_words: Mapping[str, Sequence[str]],
    ask: Asker,
    seed: int,
) -> Written:
    """Write copies of a share of the pairs, without labels; which pairs depends on the seed and their ids alone."""
    pairs = [
        sorted(members, key=lambda record: not record.fields["high_stakes"])
        for pair_id, members in pairs_of(records).items()
        if stable_uniform(seed, rewriting, pair_id) < share
    ]
    copies: list[Record] = []
    refused: list[str] = []
    failures: list[Failure] = []
    answers = ask([rewriting_question(pair, rewriting, telling_words) for pair in pairs])
    for pair, answer in zip(pairs, answers, strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
            continue
        texts = (answer.value.prompt_1.strip(), answer.value.prompt_2.strip())
        if not usable(*texts) or any(text == record.text for text, record in zip(texts, pair, strict=True)):
            refused.append(str(pair[0].fields["pair_id"]))
            continue
        copies += [_copy(record, text, rewriting) for record, text in zip(pair, texts, strict=True)]
    return Written(copies, refused, failures)


def rewriting_question(
    pair: Sequence[Record], rewriting: Rewriting, telling_words: Mapping[str, Sequence[str]]
) -> Ask[RewrittenPair]:
    """Ask for both prompts of a pair (high stakes first) in other words."""
    words = "".join(
        f"\n{name} words: {', '.join(telling_words[key])}" for key, name in (("high", "Grave"), ("low", "Light"))
    )
    texts = "\n\n".join(f"prompt_{number}:\n{record.text}" for number, record in enumerate(pair, start=1))
    return _question(str(pair[0].fields["pair_id"]), rewriting, texts, RewrittenPair, added=words)


def annotate(records: Sequence[Record], *, ask: Asker) -> Written:
    """Add the column `metadata` to every record; one without an answer stays as it is."""
    described: list[Record] = []
    failures: list[Failure] = []
    for record, answer in zip(records, ask([annotation_question(record) for record in records]), strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
            described.append(record)
        else:
            described.append(replace(record, fields={**record.fields, "metadata": answer.value.model_dump()}))
    return Written(described, failures=failures)


def annotation_question(record: Record) -> Ask[Metadata]:
    """Ask for the fields of one prompt."""
    return _question(record.id, "annotate", record.text, Metadata)


def _copy(record: Record, text: str, rewriting: Rewriting) -> Record:
    pair_id = str(record.fields["pair_id"])
    fields = {
        **record.fields,
        "pair_id": stable_hash("variant", rewriting, pair_id)[:ID_LENGTH],
        "group": pair_id,
        "variant": VARIANTS[rewriting],
        "variant_of": record.id,
    }
    return Record(id=stable_hash("variant", rewriting, record.id, text)[:ID_LENGTH], input=text, fields=fields)
