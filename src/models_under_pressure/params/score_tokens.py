"""Section `score_tokens` of params.yaml."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.monitor.choosing import Choice


class ScoreTokensParams(BaseModel):
    """Whose tokens are shown, and by which probe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probe: str
    """A name of train.probes; its first seed."""
    purposes: tuple[Literal["dev", "test"], ...] = Field(min_length=1)
    """Of the datasets."""
    choices: tuple[Choice, ...] = Field(min_length=1)
    """By what records are chosen."""
    records: int = Field(ge=1)
    """Of each choice and dataset."""
