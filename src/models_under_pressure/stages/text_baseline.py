"""Stage `text_baseline`: what length and words alone tell of the stakes."""

import time
from collections.abc import Mapping
from pathlib import Path

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.text import fit_text_monitors, score_texts
from models_under_pressure.baselines.text_config import TextBaselineConfig
from models_under_pressure.core.files import write_json
from models_under_pressure.evaluation.scores import write_scores
from models_under_pressure.stages.paths import scores_path, timing_path

METHOD = "text_baseline"


def run(*, train: Path, datasets: Mapping[str, Path], config: TextBaselineConfig, seed: int) -> None:
    """Fit the text monitors and write their scores of every dataset.

    Args:
        train: the training records.
        datasets: name -> labelled records to score.
        config: how the monitors are fitted.
        seed: of the fits; the control's shuffles count on from it.
    """
    monitors = fit_text_monitors(read_labelled("train", train), config, seed=seed)
    timing: dict[str, dict[str, dict[str, float | int]]] = {}
    for name, path in datasets.items():
        data = read_labelled(name, path)
        seconds: dict[str, float] = {}
        lists = []
        for monitor in monitors:
            start = time.perf_counter()
            lists.append(score_texts(monitor, data))
            seconds[monitor.name] = round(time.perf_counter() - start, 4)
        write_scores(scores_path(name, METHOD), lists)
        timing[name] = {monitor: {"seconds": taken, "records": len(data.records)} for monitor, taken in seconds.items()}
    write_json(timing_path(METHOD), timing)
