"""Which models behind an API are asked; no heavy imports, because every command reads it with params.yaml."""

from pydantic import BaseModel, ConfigDict, Field


class AskConfig(BaseModel):
    """One model behind an API; endpoint, limits and prices are the section `llm`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    """Name of the model, as the endpoint spells it."""


class AskBaselineConfig(BaseModel):
    """Section `ask_baseline` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, AskConfig] = {}
    """Name of each monitor -> its model; its scores are named `asked_<name>`."""
