"""Which models are finetuned: the section `finetune_baseline`, which three stages read."""

from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.core.section import EXPERIMENTS, Section, entry, model_aliases, read


class FinetuneBaseline(Section):
    """The models to finetune."""

    models: dict[str, FinetuneConfig]
    """Name -> model and hyper-parameters; each scores as `finetuned_<name>`."""


def finetuned(name: str) -> FinetuneConfig:
    """Settings of a finetuned model, a short name replaced by the Hugging Face id or path.

    Raises:
        UserError: there is no model of that name.
    """
    config = entry(read("finetune_baseline", FinetuneBaseline, EXPERIMENTS).models, name, "finetune_baseline.models")
    return config.model_copy(update={"model": model_aliases().get(config.model, config.model)})
