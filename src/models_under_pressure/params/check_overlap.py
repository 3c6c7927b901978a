"""Section `check_overlap` of params.yaml."""

from pydantic import BaseModel, ConfigDict


class CheckOverlapParams(BaseModel):
    """What two splits may share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allowed: dict[str, int]
    """Dataset -> pairs of overlapping rows that are known and accepted."""
