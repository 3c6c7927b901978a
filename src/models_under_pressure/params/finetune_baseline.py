"""Section `finetune_baseline` of params.yaml."""

from pydantic import BaseModel, ConfigDict

from models_under_pressure.baselines.finetuned.config import FinetuneConfig


class FinetuneBaselineParams(BaseModel):
    """The models to finetune."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, FinetuneConfig]
    """Name -> model and hyper-parameters; each scores as `finetuned_<name>`."""
