"""Stage `train_on_dev`: a few labelled samples of the deployment's own text."""

from collections.abc import Mapping, Sequence

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.experiments.train_on_dev import Mode, Recipe, train_on_dev
from models_under_pressure.stages.experiment_inputs import Input, read_sets
from models_under_pressure.stages.paths import RESULTS


def run(
    inputs: Mapping[str, Input],
    *,
    pairs: Sequence[tuple[str, str]],
    recipe: Recipe,
    modes: Sequence[Mode],
    sizes: Sequence[int],
    repeats: int,
    seed: int,
    confidence: float,
) -> None:
    """Write a row of results per test set, mode and number of samples.

    Args:
        inputs: train, validation, and the sets of the pairs.
        pairs: (dev set, test set) of one source.
        recipe: how probes are made from samples.
        modes: what is done with the samples.
        sizes: numbers of samples.
        repeats: with other samples and another initial probe.
        seed: the first seed.
        confidence: coverage of the intervals.
    """
    sets = read_sets(inputs)
    rows = train_on_dev(
        recipe,
        sets["train"],
        sets["validation"],
        [(sets[dev], sets[test]) for dev, test in pairs],
        modes=modes,
        sizes=sizes,
        repeats=repeats,
        seed=seed,
        confidence=confidence,
    )
    write_jsonl(RESULTS / "train_on_dev.jsonl", rows)
