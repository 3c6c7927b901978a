"""Section `plot` of params.yaml."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PlotParams(BaseModel):
    """What the figures show."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purposes: tuple[Literal["train", "validation", "dev", "test"], ...] = Field(min_length=1)
    """Purposes of the datasets shown."""
    closely: tuple[str, ...] | None = None
    """Probes and baselines whose scores are drawn record by record; None: all."""
