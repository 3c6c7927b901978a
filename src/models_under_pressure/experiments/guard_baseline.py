"""Ask a guard model about every conversation, in its own words."""

from collections.abc import Sequence
from typing import Annotated

import typer

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.guard.reading import GuardConfig
from models_under_pressure.baselines.guard.run import GuardBaselineConfig, GuardMonitor
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, Dataset, datasets_in_use, scores_path, timing_path
from models_under_pressure.core.section import EXPERIMENTS, entry, model_aliases, read
from models_under_pressure.evaluation.scores import write_scores


def command(
    name: Annotated[
        str, typer.Argument(help="Name of the guard, as in experiments/params.yaml: guard_baseline.models.")
    ],
) -> None:
    """Score the dev and test sets with a guard model.

    Example: mup guard_baseline llama_guard
    """
    config = entry(read("guard_baseline", GuardBaselineConfig, EXPERIMENTS).models, name, "guard_baseline.models")
    model = model_aliases().get(config.name, config.name)
    run(name, model=model, config=config, datasets=datasets_in_use("dev", "test"), seed=read("seed", int))


def run(name: str, *, model: str, config: GuardConfig, datasets: Sequence[Dataset], seed: int) -> None:
    """Write the score and cost of each record."""
    method, monitor = f"guard_{name}", GuardMonitor(config, model=model)
    data = [read_labelled(one.name, one.path, one.classes) for one in datasets]
    scored = [monitor.score(one, method, seed=seed) for one in data]
    write_scores(scores_path(method, EXPERIMENT_RESULTS), [scores for scores, _ in scored])
    timing = {scores.dataset: {method: {"seconds": took, "records": len(scores.ids)}} for scores, took in scored}
    write_json(timing_path(method), timing)
