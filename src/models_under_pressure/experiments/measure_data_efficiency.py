"""Fit probes on more and more training prompts.

McKenzie et al. 2025, figure 4b.
"""

from collections.abc import Sequence

from pydantic import Field

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENTS as RESULTS
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.experiments.shared.processes import cores, each
from models_under_pressure.experiments.shared.rows import Logits, Row, auroc_row, means
from models_under_pressure.experiments.shared.sets import (
    BY_SIZE,
    LabelledSet,
    check_unseen,
    generator_of,
    largest_sample,
    logits_of,
    nested_samples,
    read_sets,
    take,
)
from models_under_pressure.probes.families import ProbeConfig
from models_under_pressure.probes.training import fit_probes


class MeasureDataEfficiency(Section):
    """How many training prompts probes get."""

    sizes: tuple[int, ...] = Field(min_length=1)
    """Sample sizes, half of each high-stakes; the largest possible one comes on top."""
    repeats: int = Field(ge=1)
    """Runs with other prompts and another seed."""
    probes: dict[str, ProbeConfig] = Field(min_length=1)
    """Name -> family and hyper-parameters."""


def command() -> None:
    """Fit probes on more and more training prompts, and test on the dev sets.

    Example: mup measure_data_efficiency
    """
    train, validation, *tested = read_sets("train", "validation", "dev")
    config = read("measure_data_efficiency", MeasureDataEfficiency, EXPERIMENTS)
    rows = run(
        config,
        train,
        validation,
        tested,
        seed=read("seed", int),
        confidence=read("evaluate", EvaluateConfig).confidence,
        processes=cores(),
    )
    write_jsonl(RESULTS / "data_efficiency" / "probes.jsonl", rows)


def run(
    config: MeasureDataEfficiency,
    train: LabelledSet,
    validation: LabelledSet,
    tested: Sequence[LabelledSet],
    *,
    seed: int,
    confidence: float = 0.95,
    processes: int = 1,
) -> list[Row]:
    """Fit probes on nested, balanced samples of the training prompts, and on the largest such sample.

    Every repeat draws samples of its own and has a seed of its own; the validation set stays whole. No
    result depends on the number of processes.

    Returns:
        A row per dataset, method and size, over the repeats; then the same with the mean over datasets, whose `dataset`
        is `mean`. A row's `method` is the name of the probe and its `kind` is `probe`.

    Raises:
        UserError: a tested conversation is among the training records; or see `fit_probes`.
    """
    for one in tested:
        check_unseen([train, validation], one)
    every = [*config.sizes, largest_sample(train.data.labels)]
    found: dict[tuple[str, str, int], Logits] = {}
    alone = {name: probe.model_copy(update={"seeds": 1}) for name, probe in config.probes.items()}
    for scores in each(
        _scores, (alone, every, train, validation, tested, seed), range(config.repeats), processes=processes
    ):
        for key, logits in scores.items():
            found[key] = [*found.get(key, ()), *logits]
    by_name = {one.name: one for one in tested}
    rows = [
        {"dataset": dataset, "method": name, "kind": "probe", "size": size, "repeats": config.repeats}
        | auroc_row(logits, by_name[dataset].data, confidence=confidence)
        for (dataset, name, size), logits in found.items()
    ]
    return [*rows, *means(rows, by=BY_SIZE)]


def _scores(
    data: tuple[dict[str, ProbeConfig], Sequence[int], LabelledSet, LabelledSet, Sequence[LabelledSet], int],
    repeat: int,
) -> dict[tuple[str, str, int], Logits]:
    """Tested dataset, probe and size -> logits of one repeat."""
    probes, sizes, train, validation, tested, seed = data
    found: dict[tuple[str, str, int], Logits] = {}
    for size, rows in nested_samples(train.data.labels, sizes, generator_of(seed, repeat, train.name)).items():
        fitted = fit_probes(probes, take(train, rows).data, validation.data, seed=seed + repeat)
        for one in tested:
            found |= {(one.name, name, size): logits for name, logits in logits_of(fitted, one).items()}
    return found
