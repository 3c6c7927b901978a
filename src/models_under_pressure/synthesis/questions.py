"""What the writer of training prompts is asked: prompts filled from a concept, and the forms of its replies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, create_model

from models_under_pressure.core.concept import Classes, Concept, Scale, Synthesis, filled
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Record
from models_under_pressure.llm.ask import Ask, Form, load_prompt
from models_under_pressure.synthesis.sampling import Factors, Variation

T = TypeVar("T", bound=BaseModel)

PACKAGE = "models_under_pressure.synthesis"
"""Where the prompts are."""
PROMPTS = ("prompt_1", "prompt_2")
"""Fields of a reply that holds the two prompts of a pair."""
Rewriting = Literal["neutralise", "manipulate"]


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


def rewriting_question(pair: Sequence[Record], rewriting: Rewriting, how: Writer) -> Ask[Form]:
    """Ask for both prompts of a pair (the positive class first) in other words."""
    words = "".join(
        f"\n{one.name.capitalize()} words: {', '.join(one.words)}"
        for one in (how.synthesis.positive_words, how.synthesis.negative_words)
    )
    texts = "\n\n".join(f"prompt_{number}:\n{record.text}" for number, record in enumerate(pair, start=1))
    return _question(str(pair[0].fields["pair_id"]), how.prompt(rewriting) + words, texts, rewritten_form(how.classes))


def annotation_question(record: Record, how: Writer) -> Ask[Form]:
    """Ask for the fields of one prompt."""
    return _question(record.id, how.prompt("annotate"), record.text, metadata_form(how.classes, how.scale.name))
