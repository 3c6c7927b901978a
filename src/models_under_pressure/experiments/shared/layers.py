"""Which layers are compared: what `extract_layers` reads of the section `choose_layer`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Layers(BaseModel):
    """Which layers are extracted, and what is kept of each record."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    layers: tuple[int, ...] = Field(min_length=1)
    """Decoder blocks, from 0; all are extracted in one pass."""
    keep: Literal["tokens", "mean", "last"]
    """What is kept of each record; one vector is enough for a probe of mean or last tokens."""

    @model_validator(mode="after")
    def _layers_are_distinct(self) -> "Layers":
        if len(set(self.layers)) < len(self.layers) or min(self.layers) < 0:
            raise ValueError("layers must be distinct and at least 0")
        return self
