"""Stage `measure_finetuning`: models finetuned on more and more training prompts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.settings import load_settings
from models_under_pressure.stages.paths import DATA_EFFICIENCY, finetuned_method


def run(
    datasets: Mapping[str, Path],
    *,
    models: Mapping[str, FinetuneConfig],
    sizes: Sequence[int],
    repeats: int,
    seed: int,
    confidence: float,
) -> None:
    """Write a row of results per dataset, model and number of prompts.

    Args:
        datasets: files of train, validation, and the datasets to test on.
        models: name -> model and hyper-parameters.
        sizes: numbers of prompts; the largest possible one comes on top.
        repeats: with other prompts and another seed.
        seed: the first seed.
        confidence: coverage of the intervals.
    """
    from models_under_pressure.experiments.finetuning import measure_finetuning

    token = load_settings().hf_token
    train, validation, *tested = (read_labelled(name, path) for name, path in datasets.items())
    rows = [
        row
        for name, config in models.items()
        for row in measure_finetuning(
            finetuned_method(name),
            config,
            train,
            validation,
            tested,
            sizes=sizes,
            repeats=repeats,
            seed=seed,
            confidence=confidence,
            token=token.get_secret_value() if token else None,
        )
    ]
    write_jsonl(DATA_EFFICIENCY / "finetuned.jsonl", rows)
