"""Section `probe` of params.yaml."""

from pydantic import BaseModel, ConfigDict, Field


class ProbeParams(BaseModel):
    """Where in the model the probes read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int = Field(ge=0)
    """Decoder block, counted from 0; the probe reads what enters it."""
