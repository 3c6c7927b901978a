"""Ask a model for the class, by the likelihood of two replies; the wording is chosen on dev."""

from collections.abc import Sequence
from typing import Annotated

import typer

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.prompted.run import (
    PromptBaselineConfig,
    PromptConfig,
    PromptedMonitor,
    choose_template,
    to_list,
)
from models_under_pressure.core.concept import Concept, chosen_concept
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, Dataset, datasets_in_use, scores_path, timing_path
from models_under_pressure.core.section import EXPERIMENTS, entry, model_aliases, read
from models_under_pressure.evaluation.scores import ScoreList, write_scores


def command(
    name: Annotated[
        str, typer.Argument(help="Name of the monitor, as in experiments/params.yaml: prompt_baseline.models.")
    ],
) -> None:
    """Ask one model for the class of every conversation.

    Example: mup prompt_baseline smollm2
    """
    config = entry(read("prompt_baseline", PromptBaselineConfig, EXPERIMENTS).models, name, "prompt_baseline.models")
    model = model_aliases().get(config.name, config.name)
    datasets = datasets_in_use("dev", "test")
    run(name, model=model, config=config, concept=chosen_concept(), datasets=datasets, seed=read("seed", int))


def run(
    name: str, *, model: str, config: PromptConfig, concept: Concept, datasets: Sequence[Dataset], seed: int
) -> None:
    """Try every wording on the dev sets, and write the scores of all sets with the best one."""
    folder = EXPERIMENT_RESULTS / "prompted" / name
    monitor = PromptedMonitor(config, folder, model=model, concept=concept)
    method = f"prompted_{name}"
    dev = [read_labelled(one.name, one.path, one.classes) for one in datasets if one.purpose == "dev"]
    chosen, aurocs = choose_template(monitor.score, dev, config.templates)
    write_json(folder / "choice.json", {"chosen": chosen, "auroc": aurocs})
    timing: dict[str, object] = {}
    lists: list[ScoreList] = []
    for one in datasets:
        data = read_labelled(one.name, one.path, one.classes)
        scores = monitor.score(data, chosen)
        lists.append(to_list(data, scores, method, seed=seed))
        if scores.seconds is not None:
            timing[one.name] = {method: {"seconds": scores.seconds, "records": len(data.records)}}
    write_scores(scores_path(method, EXPERIMENT_RESULTS), lists)
    write_json(timing_path(method), timing)
