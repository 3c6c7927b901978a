"""Stage `compare_probes`: every probe family on every dataset."""

from collections.abc import Mapping

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.experiments.compare_probes import compare_probes
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.stages.experiment_inputs import Input, read_sets
from models_under_pressure.stages.paths import RESULTS


def run(inputs: Mapping[str, Input], *, probes: Mapping[str, ProbeConfig], seed: int, confidence: float) -> None:
    """Fit the probes and write a row of results per dataset and probe.

    Args:
        inputs: train, validation, and the datasets to test on.
        probes: name -> family and hyper-parameters.
        seed: the first seed.
        confidence: coverage of the intervals.
    """
    sets = read_sets(inputs)
    train, validation = sets.pop("train"), sets.pop("validation")
    rows = compare_probes(probes, train, validation, list(sets.values()), seed=seed, confidence=confidence)
    write_jsonl(RESULTS / "compare_probes.jsonl", rows)
