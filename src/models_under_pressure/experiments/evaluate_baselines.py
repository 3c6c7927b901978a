"""Measure the scores that language models gave the dev and test sets."""

from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, datasets_in_use, evaluated_path
from models_under_pressure.core.section import read
from models_under_pressure.evaluation.measure import measure
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.experiments.shared.monitors import language_model_files


def command() -> None:
    """Measure the scores that language models gave the dev and test sets, a file per dataset.

    Example: mup evaluate_baselines
    """
    datasets, config = datasets_in_use("dev", "test"), read("evaluate", EvaluateConfig)
    for name, found in measure(datasets, files=language_model_files(), config=config, seed=read("seed", int)).items():
        write_json(evaluated_path(name, EXPERIMENT_RESULTS), found)
