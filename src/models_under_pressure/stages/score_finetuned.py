"""Stage `score_finetuned`: score the datasets with a finetuned model."""

import time
from collections.abc import Mapping
from pathlib import Path

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.core.files import write_json
from models_under_pressure.core.settings import load_settings
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.stages.paths import finetuned_method, finetuned_paths, scores_path, timing_path


def run(name: str, *, datasets: Mapping[str, Path], seeds: int, seed: int) -> None:
    """Write the score and cost of each record by each seed.

    Args:
        name: name of the finetuned model.
        datasets: name -> labelled records to score.
        seeds: how many seeds it was trained from.
        seed: the first of them.
    """
    from models_under_pressure.baselines.finetuned.scoring import Monitor

    token = load_settings().hf_token
    method = finetuned_method(name)
    found: dict[str, list[ScoreList]] = {dataset: [] for dataset in datasets}
    seconds = dict.fromkeys(datasets, 0.0)
    for path in finetuned_paths(name, seed, seeds):
        monitor = Monitor(path, token=token.get_secret_value() if token else None)
        for dataset, file in datasets.items():
            data = read_labelled(dataset, file)
            start = time.perf_counter()
            found[dataset].append(monitor.score(data, method))
            seconds[dataset] += time.perf_counter() - start
    for dataset, lists in found.items():
        write_scores(scores_path(dataset, method), lists)
    timing = {
        dataset: {method: {"seconds": round(seconds[dataset] / seeds, 4), "records": len(lists[0].ids)}}
        for dataset, lists in found.items()
    }
    write_json(timing_path(method), timing)
