"""Train with samples of the dev sets and test on the test sets.

McKenzie et al. 2025, figure 5.

Modes: `only` fits a fresh probe on the samples; `combine` fits a fresh one on the synthetic prompts and several copies
of the samples; `fine_tune` continues the probe of the synthetic prompts. A smaller sample is part of every larger one;
each repeat draws samples of its own, and starts from the untouched initial probe of its own seed.
"""

from typing import Literal

from pydantic import Field

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.experiments.shared.rows import Logits, Row, auroc_row, each, means
from models_under_pressure.experiments.shared.samples import check_unseen, generator_of, nested_samples
from models_under_pressure.experiments.shared.sets import LabelledSet, join, take
from models_under_pressure.experiments.shared.setting import Setting, read_setting
from models_under_pressure.probes.families import ProbeConfig
from models_under_pressure.probes.family import DescentConfig, FamilyConfig
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.training import continue_probe, fit_probe, fit_probes

_DESCENT = set(DescentConfig.model_fields) - set(FamilyConfig.model_fields)
"""Hyper-parameters that belong to the descent and not to the probe."""

Mode = Literal["only", "combine", "fine_tune"]


class TrainOnDev(Section):
    """How probes are trained on samples of the dev sets."""

    modes: tuple[Mode, ...] = Field(min_length=1)
    """What is done with the samples."""
    sizes: tuple[int, ...] = Field(min_length=1)
    """Sample sizes, half of each high-stakes."""
    repeats: int = Field(ge=1)
    """Runs with other samples and another initial probe."""
    copies: int = Field(ge=1)
    """Copies of each sample in the training set, mode `combine` (paper: 5)."""
    epochs: int = Field(ge=1)
    """Passes over the samples, modes `only` and `fine_tune`."""
    learning_rate: float = Field(gt=0)
    """Learning rate of these passes; it falls to a tenth."""
    probe: ProbeConfig

    @property
    def on_samples(self) -> DescentConfig:
        """Gradient descent on the samples alone: `fine_tune`, and `only` where the family has a descent."""
        return DescentConfig(
            family=self.probe.family,
            epochs=self.epochs,
            patience=self.epochs,
            learning_rate=self.learning_rate,
            final_learning_rate=self.learning_rate / 10,
        )


def command() -> None:
    """Train with a few samples of each dev set, and test on the test set of the same source.

    Example: mup train_on_dev
    """
    rows = run(read("train_on_dev", TrainOnDev, EXPERIMENTS), read_setting("dev", "test"))
    write_jsonl(EXPERIMENT_RESULTS / "train_on_dev.jsonl", rows)


def run(config: TrainOnDev, setting: Setting) -> list[Row]:
    """Train with samples of each dev set, and test on the test set of the same source.

    The validation prompts choose the epoch of initial and combined probes.

    Returns:
        `evaluation.rows.SampleRow`s per dataset, mode and size, over the repeats; the mode `initial` has size 0. Then
        means over datasets, for the sizes that every dataset has.

    Raises:
        UserError: a tested conversation is among the samples; a dev set holds one class only.
    """
    pairs = setting.pairs
    for dev, test in pairs:
        check_unseen([dev], test)
    seeded = config.probe.model_copy(update={"seeds": config.repeats})
    initial = fit_probes({"": seeded}, setting.train.data, setting.validation.data, seed=setting.seed)[""]
    found = each(_scores, (config, setting, initial), range(len(pairs)), processes=setting.processes)
    rows: list[Row] = []
    for (_, test), logits in zip(pairs, found, strict=True):
        for (mode, size), scores in logits.items():
            origin = {"dataset": test.name, "mode": mode, "size": size, "repeats": config.repeats}
            rows.append(origin | auroc_row(scores, test, setting.confidence))
    return [*rows, *means(rows, by=("mode", "size", "repeats"), datasets=len(pairs))]


def _scores(data: tuple[TrainOnDev, Setting, list[Probe]], number: int) -> dict[tuple[str, int], Logits]:
    """Mode and size -> logits of the test set of one pair, one list per repeat."""
    config, setting, initial = data
    dev, test = setting.pairs[number]
    logits = {("initial", 0): [probe.decision_function(test.data.activations) for probe in initial]}
    for repeat, start in enumerate(initial):
        samples = nested_samples(dev.labels, config.sizes, generator_of(setting.seed, repeat, dev.name))
        for mode in config.modes:
            for size, chosen in samples.items():
                probe = _trained(mode, config, start, setting, take(dev, chosen))
                logits.setdefault((mode, size), []).append(probe.decision_function(test.data.activations))
    return dict(logits)


def _trained(mode: Mode, config: TrainOnDev, start: Probe, setting: Setting, samples: LabelledSet) -> Probe:
    """The probe that a mode makes of some samples; `start` is the initial one."""
    if mode == "fine_tune":
        return continue_probe(start, samples.data, None, settings=config.on_samples)
    probe = config.probe
    if mode == "combine":
        together = join([setting.train, *[samples] * config.copies])
        return fit_probe(probe, together.data, setting.validation.data, seed=start.seed)
    if isinstance(probe, DescentConfig):
        probe = probe.model_copy(update={name: getattr(config.on_samples, name) for name in _DESCENT})
    return fit_probe(probe, samples.data, None, seed=start.seed)
