"""A concept: what the probes find, the words for its classes, and what chat models are told of it. One YAML file each.

Code calls the classes high (the positive one) and low; files, figures and pages call them what the concept does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import Frozen
from models_under_pressure.core.section import PARAMS, load_plain, load_yaml

CONCEPTS = Path(__file__).parents[1] / "concepts"
Word = Annotated[str, Field(pattern=r"^[^\W_](?:[\w -]*\w)?$", max_length=40)]
"""What a class is called: letters, digits, and spaces, `-` or `_` between them."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z_]*$", max_length=40)]
"""A field of a chat model's reply."""
Text = Annotated[str, Field(min_length=1)]


class Label(StrEnum):
    """Class of a conversation; `Classes` has the words for it."""

    LOW = "low"
    HIGH = "high"
    AMBIGUOUS = "ambiguous"


class Classes(Frozen):
    """The words for the classes, in files and for readers."""

    positive: Word
    negative: Word
    ambiguous: Word = "ambiguous"
    """The word for a conversation that is neither, or of which it cannot be said."""
    positive_noun: Text = ""
    """The positive class as a thing, as in "Probability of high stakes"; `positive` if it is not given."""
    negative_noun: Text = ""

    @model_validator(mode="before")
    @classmethod
    def _nouns(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        words: dict[str, Any] = {**given}
        return {f"{side}_noun": words[side] for side in ("positive", "negative") if side in words} | words

    @model_validator(mode="after")
    def _differ(self) -> "Classes":
        if len({word.casefold() for word in self.words}) < len(self.words):
            raise ValueError(f"two classes have one word: {', '.join(self.words)}")
        return self

    def __hash__(self) -> int:
        return hash(self.words)

    @property
    def words(self) -> tuple[str, str, str]:
        """The words that stand in files: negative, positive, ambiguous."""
        return self.negative, self.positive, self.ambiguous

    def word(self, label: Label) -> str:
        """What a class is called."""
        return self.words[list(Label).index(label)]

    def label(self, word: str) -> Label | None:
        """The class that a word names; None if it names none of this concept."""
        return list(Label)[self.words.index(word)] if word in self.words else None

    @property
    def columns(self) -> tuple[str, str]:
        """The positive and the negative word as parts of a column's name: `high-stakes` is `high_stakes`."""
        return column(self.positive), column(self.negative)


STAKES = Classes(positive="high-stakes", negative="low-stakes", positive_noun="high stakes", negative_noun="low stakes")
"""The classes of the paper, and of whatever does not name its own: records made in Python, probes of earlier days."""


class Scale(Frozen):
    """The 1-10 scale on which a labeller rates."""

    name: Name
    """Field of the labeller's reply."""
    lowest: Text
    """What 1 means."""
    highest: Text
    """What 10 means."""


class Thresholds(Frozen):
    """When a rating becomes a label; everything between is ambiguous."""

    low_max: int = Field(default=3, ge=1, le=10)
    """Highest rating that counts as low."""
    high_min: int = Field(default=8, ge=1, le=10)
    """Lowest rating that counts as high."""
    confidence_min: int = Field(default=7, ge=1, le=10)
    """Lowest confidence that settles a label."""

    @model_validator(mode="after")
    def _no_score_is_both(self) -> "Thresholds":
        if self.low_max >= self.high_min:
            raise ValueError(f"low_max {self.low_max} is not below high_min {self.high_min}: a score would be both")
        return self


class Labelling(Frozen):
    """What fills the prompt of the labeller, `datasets/prompts/scale.txt`."""

    definition: Text
    """When a conversation is of either class, and what to judge it by."""
    scale: Scale
    thresholds: Thresholds = Thresholds()
    criteria: dict[Name, Text] = Field(default_factory=dict[str, str])
    """Name of a method -> criteria that it puts into the prompt; the method `scale` has none."""


class Judging(Frozen):
    """What fills the prompts of the baselines that ask a model for the class, in `baselines`."""

    positive: Text
    """When a conversation is of the positive class, after "if"."""
    negative: Text
    reasons: Text
    """What the model shall give its reasons about."""
    replies: tuple[Text, Text] = Field(min_length=2)
    """The one-word replies for the positive and the negative class."""


class Telling(Frozen):
    """Words that suggest a class without being its reason."""

    name: Text
    """What such words are, as in "grave words"."""
    words: tuple[Text, ...] = Field(min_length=1)


class Sides(Frozen):
    """What is said of each class."""

    positive: Text
    negative: Text


class Factors(Frozen):
    """What situations are drawn from."""

    role_of_user: tuple[Text, ...] = Field(min_length=1)
    impact_factor: tuple[Text, ...] = Field(min_length=1)
    topic: tuple[Text, ...] = Field(min_length=1)


class Synthesis(Frozen):
    """What fills the prompts that write training prompts, in `synthesis/prompts`."""

    situations: Sides
    """What happens in the situation of either class."""
    rule: Text
    """What the situations must leave unsaid."""
    factor: Text
    """How the question introduces the impact factor."""
    contrast: Text
    """What the two prompts of a pair share, and what tells them apart."""
    pairs: Text
    """How the two prompts of a pair differ."""
    neutral: Text
    """What must still tell them apart in neutral words."""
    roles: Sides
    """What to call the prompts of a pair: "the serious one"."""
    annotation: Sides
    """When a text is of either class, after "if"."""
    positive_words: Telling
    negative_words: Telling
    factors: Factors


class Concept(Frozen):
    """Everything that is said of one concept; its name is the file's."""

    name: str
    finds: Text
    """What the probes find, as in titles: "high-stakes conversations"."""
    asks: Text
    """What is asked of a conversation, as in "how much is at stake"."""
    classes: Classes
    labelling: Labelling | None = None
    judging: Judging | None = None
    synthesis: Synthesis | None = None
    deployment: dict[Name, Text] = Field(default_factory=dict[str, str])
    """Context of the deployment prompts (a file of data/demo/deployment) -> the system prompt of its conversations."""

    @property
    def where(self) -> str:
        """The file, as messages name it."""
        return f"concepts/{self.name}.yaml"

    def needed(self, part: Literal["labelling", "judging", "synthesis"]) -> Any:
        """A part that may be left out.

        Raises:
            UserError: it is left out.
        """
        found = getattr(self, part)
        if found is None:
            remedy = "write it, as stakes.yaml does (docs/concepts.md)."
            raise UserError(f"the concept has no `{part}`.", where=self.where, remedy=remedy)
        return found


def load_concept(name: str, folder: Path = CONCEPTS) -> Concept:
    """Read a concept.

    Raises:
        UserError: there is no such file, or a key is unknown, missing or mistyped; all are listed, each with its line.
    """
    path = folder / f"{name}.yaml"
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none yet"
        remedy = f"choose another `concept` in {PARAMS} ({known}), or write this file (docs/concepts.md)."
        raise UserError(f"there is no concept {name!r}.", where=str(path), remedy=remedy)
    concept = load_yaml(path, Concept)
    if concept.name != name:
        raise UserError(f"`name` is {concept.name!r}.", where=str(path), remedy=f"call it {name!r}, as its file.")
    return concept


def chosen_concept(file: Path = PARAMS) -> Concept:
    """The concept that params.yaml chooses; the paper's where it chooses none, or outside a project.

    Raises:
        UserError: see `load_concept`.
    """
    params = load_plain(file) if file.exists() else {}
    return load_concept(str(params.get("concept", "stakes")))


@dataclass(frozen=True)
class Words:
    """What a concept calls things."""

    classes: Classes = STAKES
    scale: str = "stakes"
    """What is rated from 1 to 10."""

    @property
    def labels(self) -> tuple[str, str]:
        """Negative, positive, as figures have them everywhere."""
        return self.classes.negative, self.classes.positive

    @property
    def contrast(self) -> str:
        """What is told apart: "high from low stakes"."""
        positive, negative = self.classes.positive_noun, self.classes.negative_noun
        return f"{elided(positive, negative)} from {negative}"


PAPER = Words()


def words_of(concept: Concept) -> Words:
    """The words of a concept; what is rated is a rating where it says nothing of labelling."""
    return Words(concept.classes, concept.labelling.scale.name if concept.labelling else "rating")


def column(word: str) -> str:
    """A word as part of a column's name."""
    return word.replace("-", "_").replace(" ", "_")


def filled(template: str, **pieces: str) -> str:
    """A prompt with its pieces in place of `{name}`; braces that name no piece, and a piece's own, stay."""
    return re.sub(r"\{(\w+)\}", lambda found: pieces.get(found[1], found[0]), template)


def elided(first: str, second: str) -> str:
    """The first of two terms without the last part that they share: `high-` of `high-stakes` and `low-stakes`."""
    for mark in ("-", " "):
        start, found, end = first.rpartition(mark)
        if found and second.endswith(found + end):
            return start + found.strip()
    return first
