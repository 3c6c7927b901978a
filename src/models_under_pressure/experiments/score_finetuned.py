"""Score the dev and test sets with a finetuned model."""

import time
from collections.abc import Sequence

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.finetuned.run import Monitor
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import (
    EXPERIMENT_RESULTS,
    Dataset,
    datasets_in_use,
    finetuned_method,
    finetuned_paths,
    scores_path,
    timing_path,
)
from models_under_pressure.core.section import read
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.experiments.finetune_baseline import Name, finetuned


def command(name: Name) -> None:
    """Score the dev and test sets with a finetuned model.

    Example: mup score_finetuned smollm2
    """
    run(name, datasets=datasets_in_use("dev", "test"), seeds=finetuned(name).seeds, seed=read("seed", int))


def run(name: str, *, datasets: Sequence[Dataset], seeds: int, seed: int) -> None:
    """Write the score and cost of each record by each seed."""
    method = finetuned_method(name)
    every = [read_labelled(one.name, one.path, one.classes) for one in datasets]
    found: dict[str, list[ScoreList]] = {data.name: [] for data in every}
    seconds = dict.fromkeys(found, 0.0)
    for path in finetuned_paths(name, seed, seeds):
        monitor = Monitor(path)
        for data in every:
            start = time.perf_counter()
            found[data.name].append(monitor.score(data, method))
            seconds[data.name] += time.perf_counter() - start
    write_scores(scores_path(method, EXPERIMENT_RESULTS), [scores for lists in found.values() for scores in lists])
    timing = {
        dataset: {method: {"seconds": round(seconds[dataset] / seeds, 4), "records": len(lists[0].ids)}}
        for dataset, lists in found.items()
    }
    write_json(timing_path(method), timing)
