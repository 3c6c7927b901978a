"""Train a language model further on the training prompts, from each of its seeds."""

from dataclasses import asdict
from typing import Annotated

import typer

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.finetuned.checkpoint import checkpoint_root
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.baselines.finetuned.run import finetune
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import Dataset, finetuned_paths, the_one, timing_path
from models_under_pressure.core.section import EXPERIMENTS, Section, entry, model_aliases, read
from models_under_pressure.core.settings import curve, load_settings

Name = Annotated[str, typer.Argument(help="Name in finetune_baseline.models of experiments/params.yaml.")]


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


def command(name: Name) -> None:
    """Train a language model further on the training prompts; a killed run goes on where it was.

    Example: mup finetune_baseline smollm2
    """
    train, validation = the_one("train"), the_one("validation")
    run(name, config=finetuned(name), train=train, validation=validation, seed=read("seed", int))


def run(name: str, *, config: FinetuneConfig, train: Dataset, validation: Dataset, seed: int) -> None:
    """Finetune, save each seed's model, and write what the training took."""
    settings, root = load_settings(), checkpoint_root()
    data = read_labelled("train", train.path, train.classes)
    held_out = read_labelled("validation", validation.path, validation.classes)
    costs: dict[str, object] = {}
    for number, path in enumerate(finetuned_paths(name, seed, config.seeds), start=seed):
        with curve("finetune_baseline", name, number, config.model_dump(mode="json"), settings) as watch:
            cost = finetune(path, data, held_out, config=config, seed=number, checkpoints=root, watch=watch)
        costs[path.name] = asdict(cost) | {"seconds": round(cost.seconds, 2)}
    write_json(timing_path(f"finetune_baseline_{name}"), costs)
