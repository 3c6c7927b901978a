"""Measure the scores that language models gave the dev and test sets."""

from collections.abc import Sequence
from pathlib import Path

from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import EXPERIMENTS as RESULTS
from models_under_pressure.core.paths import Dataset, datasets_in_use, evaluated_path
from models_under_pressure.core.section import read
from models_under_pressure.evaluation.measure import measure
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.experiments.shared.monitors import language_model_files


def command() -> None:
    """Measure the scores that language models gave the dev and test sets.

    Example: mup evaluate_baselines
    """
    datasets = datasets_in_use("dev", "test")
    run(datasets, files=language_model_files(), config=read("evaluate", EvaluateConfig), seed=read("seed", int))


def run(datasets: Sequence[Dataset], *, files: Sequence[Path], config: EvaluateConfig, seed: int) -> None:
    """Write what `measure` finds to data/experiments/evaluate, a file per dataset.

    Raises:
        UserError: see `measure`.
    """
    for name, found in measure(datasets, files=files, config=config, seed=seed).items():
        write_json(evaluated_path(name, RESULTS), found)
