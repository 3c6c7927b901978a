"""A few labelled samples of the deployment's own text (McKenzie et al. 2025, figure 5).

Modes: `only` fits a fresh probe on the samples; `combine` fits a fresh one on the synthetic prompts and several copies
of the samples; `fine_tune` continues the probe of the synthetic prompts on the samples. Each size's samples are part of
the next one's; each repeat draws samples of its own, and continues a fresh copy of the initial probe of its seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from models_under_pressure.experiments.labelled_set import LabelledSet, check_unseen, join, take
from models_under_pressure.experiments.samples import generator_of, nested_samples
from models_under_pressure.experiments.scoring import Row, auroc_row, mean_row
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.descent import DescentConfig
from models_under_pressure.probes.family import FamilyConfig
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.training import continue_probe, fit_probe, fit_probes

_DESCENT = set(DescentConfig.model_fields) - set(FamilyConfig.model_fields)
"""Hyper-parameters that belong to the descent and not to the probe."""

Mode = Literal["only", "combine", "fine_tune"]


@dataclass(frozen=True)
class Recipe:
    """How probes are made from samples."""

    probe: ProbeConfig
    """Of the initial probe, and of those fitted on samples and prompts together."""
    fine_tune: DescentConfig
    """Of the descent on the samples alone: modes `only` (where the family has one) and `fine_tune`."""
    copies: int
    """Of each sample among the synthetic prompts (paper: 5)."""


def train_on_dev(
    recipe: Recipe,
    train: LabelledSet,
    validation: LabelledSet,
    pairs: Sequence[tuple[LabelledSet, LabelledSet]],
    *,
    modes: Sequence[Mode],
    sizes: Sequence[int],
    repeats: int,
    seed: int,
    confidence: float = 0.95,
) -> list[Row]:
    """Train with samples of each dev set, and test on the test set that belongs to it.

    Args:
        recipe: how probes are made.
        train: synthetic prompts.
        validation: others, which choose the epoch of the initial and of the combined probes.
        pairs: (dev set, test set) of the same source.
        modes: what is done with the samples.
        sizes: numbers of samples.
        repeats: with other samples and another initial probe.
        seed: of the first repeat's probe, and of all draws.
        confidence: coverage of the intervals.

    Returns:
        A row per dataset, mode and size, over the repeats; the mode `initial` has size 0. Then the same with the mean
        over datasets, for the sizes that every dataset has; its `dataset` is `mean`.

    Raises:
        UserError: a tested conversation is among the prompts or the samples; a dev set holds one class only.
    """
    for dev, test in pairs:
        check_unseen([train, validation, dev], test)
    initial = fit_probes(
        {"initial": recipe.probe.model_copy(update={"seeds": repeats})}, train.data, validation.data, seed=seed
    )["initial"]
    rows: list[Row] = []
    for dev, test in pairs:
        logits = {("initial", 0): [probe.decision_function(test.data.activations) for probe in initial]}
        for repeat, start in enumerate(initial):
            samples = nested_samples(dev.data.labels, sizes, generator_of(seed, repeat, dev.name))
            for mode in modes:
                for size, chosen in samples.items():
                    probe = _MODES[mode](recipe, start, train, validation, take(dev, chosen))
                    logits.setdefault((mode, size), []).append(probe.decision_function(test.data.activations))
        for (mode, size), scores in logits.items():
            origin = {"dataset": test.name, "mode": mode, "size": size, "repeats": repeats}
            rows.append(origin | auroc_row(scores, test.data, confidence=confidence))
    return [*rows, *_means(rows, datasets=len(pairs))]


def _only(recipe: Recipe, start: Probe, train: LabelledSet, validation: LabelledSet, samples: LabelledSet) -> Probe:
    config = recipe.probe
    if isinstance(config, DescentConfig):
        config = config.model_copy(update={name: getattr(recipe.fine_tune, name) for name in _DESCENT})
    return fit_probe(config, samples.data, None, seed=start.seed)


def _combine(recipe: Recipe, start: Probe, train: LabelledSet, validation: LabelledSet, samples: LabelledSet) -> Probe:
    together = join([train, *[samples] * recipe.copies])
    return fit_probe(recipe.probe, together.data, validation.data, seed=start.seed)


def _fine_tune(
    recipe: Recipe, start: Probe, train: LabelledSet, validation: LabelledSet, samples: LabelledSet
) -> Probe:
    return continue_probe(start, samples.data, None, settings=recipe.fine_tune)


_MODES: Mapping[Mode, Callable[[Recipe, Probe, LabelledSet, LabelledSet, LabelledSet], Probe]] = {
    "only": _only,
    "combine": _combine,
    "fine_tune": _fine_tune,
}


def _means(rows: Sequence[Row], *, datasets: int) -> list[Row]:
    means = []
    for mode, size in dict.fromkeys((row["mode"], row["size"]) for row in rows):
        parts = [row for row in rows if row["mode"] == mode and row["size"] == size]
        if len(parts) == datasets:
            means.append(
                {"dataset": "mean", "mode": mode, "size": size, "repeats": parts[0]["repeats"]} | mean_row(parts)
            )
    return means
