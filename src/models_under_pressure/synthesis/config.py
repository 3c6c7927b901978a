"""How the training prompts are made."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class WordFilter(BaseModel):
    """The bag-of-words filter: pairs that a word count tells apart most surely are dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: float = Field(default=1.0, gt=0, le=1)
    """Share of the pairs of each split that is kept; 1 is no filter."""
    folds: int = Field(default=5, ge=2)
    """Parts of the situations; each part is judged by a classifier fitted on the others."""


class SynthesisConfig(BaseModel):
    """How many training prompts are asked for, how they vary, and which of them are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    situations: int = Field(ge=1)
    """Situation pairs; a larger number extends a smaller run."""
    prompts_per_situation: int = Field(ge=1)
    """Prompt pairs written for each situation pair."""
    test_fraction: float = Field(ge=0, lt=1)
    """Chance of a situation, with all its prompts, to be in the test split."""
    language_weights: dict[str, float]
    """Chance of each language."""
    neutralise: float = Field(default=0.0, ge=0, le=1)
    """Share of pairs of which a copy is written without the words that tell."""
    manipulate: float = Field(default=0.0, ge=0, le=1)
    """Share of pairs of which a copy is written with words that suggest the opposite."""
    word_filter: WordFilter = WordFilter()
    rows: int | None = Field(default=None, ge=2, multiple_of=2)
    """Rows of both splits together, drawn as `test_fraction` says; null keeps all. Fewer are an error."""
    annotate: bool = False
    """Whether the rows kept get the seven fields of metadata."""

    @model_validator(mode="after")
    def _weights_are_chances(self) -> "SynthesisConfig":
        total = sum(self.language_weights.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"language_weights sum to {total:g}, not to 1")
        if negative := [name for name, weight in self.language_weights.items() if weight < 0]:
            raise ValueError(f"language_weights of {', '.join(negative)} are negative")
        return self
