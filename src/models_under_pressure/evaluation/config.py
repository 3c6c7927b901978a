"""How scores are measured; no heavy imports, because every command reads it with params.yaml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class EvaluateConfig(BaseModel):
    """How scores are measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fpr_budgets: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.01,), min_length=1)
    """False positive rates that a threshold must keep."""
    prevalence: float = Field(0.01, gt=0, lt=1)
    """Share of high-stakes traffic assumed for precision."""
    resamples: int = Field(10_000, ge=100)
    """Bootstrap resamples behind each interval."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """Coverage of the intervals."""
    bins: int = Field(10, ge=2)
    """Bins of the calibration errors."""
    groups: dict[str, tuple[str, ...]] = {}
    """Attribute by which metrics are broken down -> columns that can hold it; a record's first counts."""
    least_group: int = Field(10, ge=1)
    """Records that a value of an attribute needs for metrics of its own."""
    length_bins: int = Field(4, ge=2)
    """Bins of about equal number that records are parted into by length."""
