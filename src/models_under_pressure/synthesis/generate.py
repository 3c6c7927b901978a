"""The training prompts as they are asked for: situations, then prompts for them.

A share of the pairs is rewritten so that the words tell less of the class, or the opposite: both prompts in one
question, so that they stay a minimal pair. The copies are rows of their own, with ids of their own, and are labelled
anew: a rewrite that changed the class does not survive. What the model would not rewrite is reported, and gives no
row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, create_model

from models_under_pressure.core.concept import Classes, Concept, Scale, Synthesis, filled
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
from models_under_pressure.synthesis.selection import SynthesisConfig, meant_high, pairs_of

T = TypeVar("T", bound=BaseModel)

PACKAGE = "models_under_pressure.synthesis"
"""Where the prompts are."""
ORIGINAL = "original"
"""Value of the column `variant` of a prompt as it was first written."""


@lru_cache
def situation_form(classes: Classes, about: str) -> type[Form]:
    """The form of two situations, of the positive class and of the negative one, that differ in one thing."""
    fields: dict[str, Any] = dict.fromkeys(classes.columns, (str, ...))
    return create_model("SituationPair", __base__=Form, __doc__=f"Two situations that differ in {about}.", **fields)


@lru_cache
def prompt_form(classes: Classes) -> type[Form]:
    """The form of two prompts."""
    about = f"Two prompts: the first for the {classes.positive} situation, the second for the {classes.negative} one."
    return _pair_form("PromptPair", about)


@dataclass(frozen=True, slots=True)
class Writer:
    """What the writer of training prompts is told of the concept."""

    classes: Classes
    scale: Scale
    synthesis: Synthesis

    def prompt(self, name: str, **pieces: str) -> str:
        """A prompt of this package, filled from the concept."""
        told, classes = self.synthesis, self.classes
        shared = {
            "positive_words": told.positive_words.name,
            "negative_words": told.negative_words.name,
            "contrast": told.contrast,
            "pairs": told.pairs,
            "neutral": told.neutral,
            "positive_role": told.roles.positive,
            "negative_role": told.roles.negative,
            "positive": classes.positive,
            "negative": classes.negative,
            "ambiguous": classes.ambiguous,
            "scale": self.scale.name,
            "if_positive": told.annotation.positive,
            "if_negative": told.annotation.negative,
        }
        return filled(load_prompt(PACKAGE, name), **shared | pieces)


def writer(concept: Concept) -> Writer:
    """The writer of a concept.

    Raises:
        UserError: the concept says nothing of synthesis, or of labelling.
    """
    return Writer(concept.classes, concept.needed("labelling").scale, concept.needed("synthesis"))


def situation_question(factors: Factors, how: Writer) -> Ask[Form]:
    """Ask for a pair of situations."""
    told, (positive, negative) = how.synthesis, how.classes.columns
    facts = f"Person: {factors.role_of_user}\nTopic: {factors.topic}\n{told.factor}: {factors.impact_factor}"
    prompt = how.prompt(
        "situation",
        positive=positive,
        negative=negative,
        positive_situation=told.situations.positive,
        negative_situation=told.situations.negative,
        rule=told.rule,
    )
    return _question(factors.situation_id, prompt, facts, situation_form(how.classes, how.scale.name))


def prompt_question(
    pair_id: str,
    situations: tuple[str, str],
    variation: Variation,
    vocabulary: Mapping[str, Mapping[str, object]],
    how: Writer,
    *,
    sample: int = 0,
) -> Ask[Form]:
    """Ask for a pair of prompts, written in one manner; `sample` tells the same question asked again from the first."""
    manner = {name: vocabulary[name][getattr(variation, name)] for name in vocabulary}
    facts = (
        f"Situation 1: {situations[0]}\n\nSituation 2: {situations[1]}\n\n"
        f"Form: {manner['prompt_style']}\nTone: {manner['tone']}\nLanguage: {manner['language']}\n"
        f"Length of each: about {manner['length']} words"
    )
    return _question(pair_id, how.prompt("prompt_pair"), facts, prompt_form(how.classes), sample=sample)


def _question(id_: str, prompt: str, text: str, reply: type[T], *, sample: int = 0) -> Ask[T]:
    messages = (Message("system", prompt), Message("user", text))
    return Ask(record_id=id_, messages=messages, reply=reply, sample=sample)


def _pair_form(name: str, about: str) -> type[Form]:
    fields: dict[str, Any] = {"prompt_1": (str, ...), "prompt_2": (str, ...)}
    return create_model(name, __base__=Form, __doc__=about, **fields)


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
    situations: tuple[str, str]
    """Of the positive class, and of the negative one."""
    again: int
    """Earlier pairs of the situation with the same variation: the same question, asked once more."""


def generate(config: SynthesisConfig, vocabulary: Vocabulary, how: Writer, *, ask: Asker, seed: int) -> Written:
    """Ask for situations, then for prompts; every row knows its pair, its situation and its split.

    Raises:
        UserError: there are fewer combinations of factors than situations asked for, or the language weights do not
            name the languages.
    """
    check_languages(vocabulary, config.language_weights)
    factors = sample_factors(vocabulary.factors, count=config.situations, seed=seed)
    situations = ask([situation_question(one, how) for one in factors])
    pairs = [
        pair
        for one, answer in zip(factors, situations, strict=True)
        if isinstance(answer, Answer)
        for pair in _pairs(one, _texts(answer.value, how.classes.columns), config, vocabulary, seed)
    ]
    manners = vocabulary.variations
    answers = ask(
        [prompt_question(one.id, one.situations, one.variation, manners, how, sample=one.again) for one in pairs]
    )
    records: list[Record] = []
    refused: list[str] = []
    for pair, answer in zip(pairs, answers, strict=True):
        if isinstance(answer, Failure):
            continue
        texts = _texts(answer.value, _PROMPTS)
        if not usable(*texts):
            refused.append(pair.id)
            continue
        records += _rows(pair, texts, how.classes, test_fraction=config.test_fraction, seed=seed)
    failures = [answer for answer in (*situations, *answers) if isinstance(answer, Failure)]
    return Written(records, refused, failures)


def _pairs(
    factors: Factors, situations: tuple[str, str], config: SynthesisConfig, vocabulary: Vocabulary, seed: int
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


def _texts(reply: Form, fields: tuple[str, str]) -> tuple[str, str]:
    first, second = (str(getattr(reply, name)) for name in fields)
    return first, second


def _rows(pair: _Pair, prompts: tuple[str, str], classes: Classes, *, test_fraction: float, seed: int) -> list[Record]:
    situation_id = pair.factors.situation_id
    shared = {
        "pair_id": pair.id,
        "situation_id": situation_id,
        "split": "test" if in_test_split(situation_id, test_fraction=test_fraction, seed=seed) else "train",
        "variant": ORIGINAL,
        **asdict(pair.factors),
        **asdict(pair.variation),
    }
    column, _ = classes.columns
    return [
        Record(
            stable_hash("prompt", pair.id, high, text)[:ID_LENGTH],
            text,
            fields={**shared, column: high},
            classes=classes,
        )
        for high, text in zip((True, False), (text.strip() for text in prompts), strict=True)
    ]


Rewriting = Literal["neutralise", "manipulate"]
VARIANTS: dict[Rewriting, str] = {"neutralise": "neutralised", "manipulate": "manipulated"}
"""Rewriting -> what the column `variant` of its rows says."""


_PROMPTS = ("prompt_1", "prompt_2")


@lru_cache
def rewritten_form(classes: Classes) -> type[Form]:
    """The form of a pair of prompts in other words."""
    about = f"A pair of prompts in other words: the first has the {classes.positive_noun}."
    return _pair_form("RewrittenPair", about)


class _Metadata(Form):
    """What kind of situation a prompt describes."""

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


@lru_cache
def metadata_form(classes: Classes, scale: str) -> type[Form]:
    """The form of what is told of a prompt: its class first."""
    words: Any = Literal[classes.positive, classes.negative, classes.ambiguous]
    others: dict[str, Any] = {name: (one.annotation, ...) for name, one in _Metadata.model_fields.items()}
    fields: dict[str, Any] = {scale: (words, ...), **others}
    return create_model("Metadata", __base__=Form, __doc__=_Metadata.__doc__, **fields)


WORDS = {"SituationPair": 60, "PromptPair": 90, "RewrittenPair": 90}
"""Usual words of each text in a reply; prompts are asked for with 20, 50, 100 and 200 alike."""


def rewrite(
    records: Sequence[Record],
    rewriting: Rewriting,
    *,
    share: float,
    how: Writer,
    ask: Asker,
    seed: int,
) -> Written:
    """Write copies of a share of the pairs, without labels; which pairs depends on the seed and their ids alone."""
    pairs = [
        sorted(members, key=lambda record: not meant_high(record))
        for pair_id, members in pairs_of(records).items()
        if stable_uniform(seed, rewriting, pair_id) < share
    ]
    copies: list[Record] = []
    refused: list[str] = []
    failures: list[Failure] = []
    answers = ask([rewriting_question(pair, rewriting, how) for pair in pairs])
    for pair, answer in zip(pairs, answers, strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
            continue
        texts = tuple(text.strip() for text in _texts(answer.value, _PROMPTS))
        if not usable(*texts) or any(text == record.text for text, record in zip(texts, pair, strict=True)):
            refused.append(str(pair[0].fields["pair_id"]))
            continue
        copies += [_copy(record, text, rewriting) for record, text in zip(pair, texts, strict=True)]
    return Written(copies, refused, failures)


def rewriting_question(pair: Sequence[Record], rewriting: Rewriting, how: Writer) -> Ask[Form]:
    """Ask for both prompts of a pair (the positive class first) in other words."""
    words = "".join(
        f"\n{one.name.capitalize()} words: {', '.join(one.words)}"
        for one in (how.synthesis.positive_words, how.synthesis.negative_words)
    )
    texts = "\n\n".join(f"prompt_{number}:\n{record.text}" for number, record in enumerate(pair, start=1))
    return _question(str(pair[0].fields["pair_id"]), how.prompt(rewriting) + words, texts, rewritten_form(how.classes))


def annotate(records: Sequence[Record], how: Writer, *, ask: Asker) -> Written:
    """Add the column `metadata` to every record; one without an answer stays as it is."""
    described: list[Record] = []
    failures: list[Failure] = []
    for record, answer in zip(records, ask([annotation_question(record, how) for record in records]), strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
            described.append(record)
        else:
            described.append(replace(record, fields={**record.fields, "metadata": answer.value.model_dump()}))
    return Written(described, failures=failures)


def annotation_question(record: Record, how: Writer) -> Ask[Form]:
    """Ask for the fields of one prompt."""
    return _question(record.id, how.prompt("annotate"), record.text, metadata_form(how.classes, how.scale.name))


def _copy(record: Record, text: str, rewriting: Rewriting) -> Record:
    pair_id = str(record.fields["pair_id"])
    fields = {
        **record.fields,
        "pair_id": stable_hash("variant", rewriting, pair_id)[:ID_LENGTH],
        "group": pair_id,
        "variant": VARIANTS[rewriting],
        "variant_of": record.id,
    }
    return Record(
        id=stable_hash("variant", rewriting, record.id, text)[:ID_LENGTH],
        input=text,
        fields=fields,
        classes=record.classes,
    )
