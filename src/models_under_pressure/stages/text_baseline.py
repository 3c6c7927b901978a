"""Score the dev and test sets by length and word counts: the floor that a probe must beat."""

import time
from collections.abc import Sequence

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.text import TextBaselineConfig, fit_text_monitors, score_texts
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import Dataset, datasets_in_use, scores_path, the_one, timing_path
from models_under_pressure.core.section import read
from models_under_pressure.evaluation.scores import ScoreList, write_scores

METHOD = "text_baseline"


def command() -> None:
    """Score every dev and test set by length and word counts.

    Example: mup text_baseline
    """
    config, seed = read("text_baseline", TextBaselineConfig), read("seed", int)
    run(train=the_one("train"), datasets=datasets_in_use("dev", "test"), config=config, seed=seed)


def run(*, train: Dataset, datasets: Sequence[Dataset], config: TextBaselineConfig, seed: int) -> None:
    """Fit the text monitors and write their scores of every dataset."""
    monitors = fit_text_monitors(read_labelled("train", train.path, train.classes), config, seed=seed)
    timing: dict[str, dict[str, dict[str, float | int]]] = {}
    lists: list[ScoreList] = []
    for dataset in datasets:
        data = read_labelled(dataset.name, dataset.path, dataset.classes)
        timing[dataset.name] = {}
        for monitor in monitors:
            start = time.perf_counter()
            lists.append(score_texts(monitor, data))
            taken = {"seconds": round(time.perf_counter() - start, 4), "records": len(data.records)}
            timing[dataset.name][monitor.name] = taken
    write_scores(scores_path(METHOD), lists)
    write_json(timing_path(METHOD), timing)
