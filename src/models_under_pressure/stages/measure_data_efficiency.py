"""Stage `measure_data_efficiency`: probes fitted on more and more training prompts."""

from collections.abc import Mapping, Sequence

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.experiments.data_efficiency import measure_data_efficiency
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.stages.experiment_inputs import Input, read_sets
from models_under_pressure.stages.paths import DATA_EFFICIENCY


def run(
    inputs: Mapping[str, Input],
    *,
    probes: Mapping[str, ProbeConfig],
    sizes: Sequence[int],
    repeats: int,
    seed: int,
    confidence: float,
) -> None:
    """Write a row of results per dataset, probe and number of prompts.

    Args:
        inputs: train, validation, and the datasets to test on.
        probes: name -> family and hyper-parameters.
        sizes: numbers of prompts; the largest possible one comes on top.
        repeats: with other prompts and another seed.
        seed: the first seed.
        confidence: coverage of the intervals.
    """
    sets = read_sets(inputs)
    train, validation = sets.pop("train"), sets.pop("validation")
    rows = measure_data_efficiency(
        probes,
        train,
        validation,
        list(sets.values()),
        sizes=sizes,
        repeats=repeats,
        seed=seed,
        confidence=confidence,
    )
    write_jsonl(DATA_EFFICIENCY / "probes.jsonl", rows)
