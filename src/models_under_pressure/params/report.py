"""Section `report` of params.yaml."""

from pydantic import BaseModel, ConfigDict, Field


class ReportParams(BaseModel):
    """What the report page shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    figures: tuple[str, ...]
    """Files of plots/figures, in order."""
    errors: int = Field(3, ge=0)
    """Worst errors of each name and dataset."""
    errors_of: tuple[str, ...] | None = None
    """Probes and baselines whose errors are shown; None: all."""
