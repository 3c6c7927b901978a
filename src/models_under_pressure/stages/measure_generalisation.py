"""Stage `measure_generalisation`: train on one kind of prompt, test on every kind."""

from collections.abc import Sequence

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.experiments.generalisation import measure_generalisation
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.stages.experiment_inputs import Input, read_set
from models_under_pressure.stages.paths import RESULTS


def run(
    *,
    train: Input,
    validation: Input,
    probe: ProbeConfig,
    attributes: Sequence[str],
    least: int,
    seed: int,
    confidence: float,
) -> None:
    """Write a row of results per attribute, training value and tested value.

    Args:
        train: prompts to train on.
        validation: prompts to test on.
        probe: family and hyper-parameters.
        attributes: columns of the prompts.
        least: records of each class that a value needs.
        seed: the first seed.
        confidence: coverage of the intervals.
    """
    rows = measure_generalisation(
        probe,
        read_set("train", train),
        read_set("validation", validation),
        attributes=attributes,
        least=least,
        seed=seed,
        confidence=confidence,
    )
    write_jsonl(RESULTS / "measure_generalisation.jsonl", rows)
