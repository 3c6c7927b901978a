"""Fit probes on more and more training prompts.

McKenzie et al. 2025, figure 4b.
"""

from pydantic import Field

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.experiments.shared.rows import Logits, Row, each, size_rows
from models_under_pressure.experiments.shared.samples import generator_of, largest_sample, nested_samples
from models_under_pressure.experiments.shared.sets import take
from models_under_pressure.experiments.shared.setting import Setting, read_setting
from models_under_pressure.probes.families import ProbeConfig
from models_under_pressure.probes.probe import score_together
from models_under_pressure.probes.training import fit_probes


class MeasureDataEfficiency(Section):
    """How many training prompts probes get."""

    sizes: tuple[int, ...] = Field(min_length=1)
    """Sample sizes, half of each of the positive class; the largest possible one comes on top."""
    repeats: int = Field(ge=1)
    """Runs with other prompts and another seed."""
    probes: dict[str, ProbeConfig] = Field(min_length=1)
    """Name -> family and hyper-parameters."""


def command() -> None:
    """Fit probes on more and more training prompts, and test on the dev sets.

    Example: mup measure_data_efficiency
    """
    rows = run(read("measure_data_efficiency", MeasureDataEfficiency, EXPERIMENTS), read_setting("dev"))
    write_jsonl(EXPERIMENT_RESULTS / "data_efficiency" / "probes.jsonl", rows)


def run(config: MeasureDataEfficiency, setting: Setting) -> list[Row]:
    """Fit probes on nested, balanced samples of the training prompts, and on the largest such sample.

    Every repeat draws samples of its own and has a seed of its own; the validation set stays whole.

    Returns:
        `evaluation.rows.MethodRow`s per dataset, probe and size, over the repeats; then means over datasets.
    """
    found: dict[tuple[str, str, int], Logits] = {}
    for scores in each(_scores, (config, setting), range(config.repeats), processes=setting.processes):
        for key, logits in scores.items():
            found[key] = [*found.get(key, ()), *logits]
    return size_rows(found, setting.tested, kind="probe", confidence=setting.confidence)


def _scores(data: tuple[MeasureDataEfficiency, Setting], repeat: int) -> dict[tuple[str, str, int], Logits]:
    """Tested dataset, probe and size -> logits of one repeat."""
    config, setting = data
    train, seed = setting.train, setting.seed
    probes = {name: probe.model_copy(update={"seeds": 1}) for name, probe in config.probes.items()}
    sizes = [*config.sizes, largest_sample(train.labels)]
    found: dict[tuple[str, str, int], Logits] = {}
    for size, rows in nested_samples(train.labels, sizes, generator_of(seed, repeat, train.name)).items():
        fitted = fit_probes(probes, take(train, rows).data, setting.validation.data, seed=seed + repeat)
        for one in setting.tested:
            every = score_together([probe for (probe,) in fitted.values()], one.data.activations)
            found |= {(one.name, name, size): [logits] for name, logits in zip(fitted, every, strict=True)}
    return found
