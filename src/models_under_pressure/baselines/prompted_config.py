"""How models are prompted; no heavy imports, because every command reads it with params.yaml."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.activations.config import Dtype

TemplateName = Literal["default", "single_letter", "prompt_at_end", "single_word"]
"""Files of that name in `baselines/templates`."""


class PromptConfig(BaseModel):
    """One model that is asked, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """A short name from `models`, a Hugging Face id, or a local path."""
    dtype: Dtype = "auto"
    """Precision of the forward pass; likelihoods are float32 always."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Width of the weights (bitsandbytes)."""
    templates: tuple[TemplateName, ...] = Field(
        default=("default", "single_letter", "prompt_at_end", "single_word"), min_length=1
    )
    """Wordings tried on the dev sets; the best of them is used on the test sets."""
    max_tokens: int = Field(default=8192, ge=16)
    """Longest prompt with its reply, in tokens; of longer ones the conversation's end is cut and reported."""
    batch_tokens: int | Literal["auto"] = "auto"
    """Tokens of one forward pass; auto suits the device's caches or memory."""


class PromptBaselineConfig(BaseModel):
    """Section `prompt_baseline` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, PromptConfig]
    """Name of each prompted monitor -> its model, and how it is asked."""
