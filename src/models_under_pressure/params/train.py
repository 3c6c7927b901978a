"""Section `train` of params.yaml."""

from pydantic import BaseModel, ConfigDict

from models_under_pressure.probes.config import ProbeConfig


class TrainParams(BaseModel):
    """The probes to train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probes: dict[str, ProbeConfig]
    """Name -> family and hyper-parameters."""
