"""Fitting probes: one pass over the data for all that need one, several seeds at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.calibration import fit_calibration, threshold_table
from models_under_pressure.probes.data import TrainingData, check_classes, check_same_origin
from models_under_pressure.probes.families import FAMILIES, ProbeConfig
from models_under_pressure.probes.family import (
    Descent,
    DescentConfig,
    Exact,
    FamilyConfig,
    RecordVectors,
    Role,
    Weights,
)
from models_under_pressure.probes.logistic import grouped_folds, mean_token_solution
from models_under_pressure.probes.probe import DeviceName, Probe, device_of, score_together, weights_hash
from models_under_pressure.probes.tokens import SENTENCE_END_IDS, Selection, ends_of_model, select, survey

if TYPE_CHECKING:
    from models_under_pressure.probes.batches import Space
    from models_under_pressure.probes.descent import Member

MEMORY_GIB = 2.0
"""Activations kept in memory between epochs, of both splits; those beyond are read again in every epoch."""

_ORDER_SEED = 0
"""Seed of the batches and their order, which all probes and seeds share."""

_Key: TypeAlias = tuple[str, int]
"""Name of a probe, and seed."""

_Sight: TypeAlias = tuple[tuple[Role, ...], bool]
"""Which tokens a probe sees: their roles, and whether the first one."""


@dataclass(frozen=True)
class _Means:
    """What descent may use."""

    memory: int
    """Bytes."""
    device: DeviceName


@dataclass(frozen=True, eq=False)
class _View:
    """The tokens of a split that some probes see."""

    data: TrainingData
    selection: Selection


def fit_probe(config: ProbeConfig, train: TrainingData, validation: TrainingData | None, *, seed: int) -> Probe:
    """Fit one probe, from one seed.

    Raises:
        UserError: see `fit_probes`.
    """
    one = config.model_copy(update={"seeds": 1})
    return fit_probes({"": one}, train, validation, seed=seed)[""][0]


def fit_probes(
    configs: Mapping[str, ProbeConfig],
    train: TrainingData,
    validation: TrainingData | None,
    *,
    seed: int,
    memory_gib: float = MEMORY_GIB,
    device: DeviceName = "auto",
) -> dict[str, list[Probe]]:
    """Fit several probes, each from as many consecutive seeds as it asks for, reading the data together.

    The validation split chooses the epoch, the thresholds and the calibration; without it there are none of these. The
    seeds differ in where gradient descent starts and in the folds of cross-validation; all see the same batches.

    Args:
        configs: name of a probe -> family and hyper-parameters.
        train: data to fit on; a record's weight multiplies its loss, in every family.
        validation: data to choose and judge by, or None.
        seed: the first seed.
        memory_gib: activations kept between epochs, on the device; it changes the time, never the result.
        device: where descent and scoring compute: `auto` is CUDA where there is a GPU, and the CPU elsewhere. Solvers
            run on the CPU.

    Raises:
        UserError: the data hold one class only, NaN, or a record with no token that a probe sees; the two splits come
            from different models, layers or hook points.
    """
    _check_splits(train, validation)
    fitted: dict[_Key, Probe] = {}
    for sight in dict.fromkeys(map(_sight, configs.values())):
        same_tokens = {name: config for name, config in configs.items() if _sight(config) == sight}
        by_sentence = any(FAMILIES[config.family].by_sentence for config in same_tokens.values())
        ends = ends_of_model(train.activations.attributes) if by_sentence else None
        views = _views(train, validation, sight, ends)
        fitted |= _fit(same_tokens, *views, seed=seed, on=_Means(int(memory_gib * 2**30), device))
    judged = dict(zip(fitted, _judged(list(fitted.values()), validation, device), strict=True))
    return {name: [judged[name, seed + more] for more in range(config.seeds)] for name, config in configs.items()}


def fit_folds(
    config: ProbeConfig, data: TrainingData, folds: int, *, seed: int
) -> Iterator[tuple[Probe, TrainingData]]:
    """Fit a probe on all folds but one, and yield it with the records of that one; for each fold of whole groups.

    Raises:
        UserError: there are too few groups for every fold to hold both classes; see `fit_probes`.
    """
    for train, test in grouped_folds(data.labels, data.groups, folds, seed):
        yield fit_probe(config, data.only(train), None, seed=seed), data.only(test)


def continue_probe(
    probe: Probe,
    train: TrainingData,
    validation: TrainingData | None,
    *,
    settings: DescentConfig | None = None,
    device: DeviceName = "auto",
) -> Probe:
    """Train a probe further, on other data, from its own weights; the probe given stays as it is.

    Every family is continued by gradient descent, those with a solver too: their penalty then has no part in it.

    Args:
        probe: probe to start from.
        train: data to go on with; few records are enough.
        validation: data that choose the epoch (the start is one of the candidates), the thresholds and the calibration;
            without them, the last epoch is returned, with none of these.
        settings: settings of the descent; by default the probe's own, or for a family with a solver the defaults.
        device: see `fit_probes`.

    Raises:
        UserError: see `fit_probes`; or the data come from where the probe does not read.
    """
    from models_under_pressure.probes.batches import robust_space
    from models_under_pressure.probes.descent import Member

    _check_splits(train, validation)
    probe.check(train.activations)
    own = probe.config if isinstance(probe.config, DescentConfig) else DescentConfig(family=probe.family)
    views = _views(train, validation, _sight(probe.config), probe.weights.get(SENTENCE_END_IDS))
    space = robust_space(survey(views[0].selection).sample)
    family, arrays = FAMILIES[probe.family], probe.weights
    more = {name: arrays[name] for name in family.more(probe.config)}
    start = space.from_activations(Weights(arrays["projection"], arrays["bias"], more))
    member = Member(family, probe.config, settings or own, start)
    key, means = (probe.family, probe.seed), _Means(int(MEMORY_GIB * 2**30), device)
    continued = _descend({key: member}, space, *views, means)[key]
    origin = {"continued_from": weights_hash(probe)}
    return _judged([replace(continued, provenance={**continued.provenance, **origin})], validation, device)[0]


def _check_splits(train: TrainingData, validation: TrainingData | None) -> None:
    check_classes(train, "training")
    if validation is not None:
        check_classes(validation, "validation")
        origin = train.activations.attributes
        check_same_origin(origin, validation.activations.attributes, what="the validation activations")


def _sight(config: FamilyConfig) -> _Sight:
    return config.tokens, config.first_token


def _views(
    train: TrainingData, validation: TrainingData | None, sight: _Sight, ends: np.ndarray | None
) -> tuple[_View, _View | None]:
    def view(data: TrainingData) -> _View:
        return _View(data, select(data.activations, sight[0], ends, first_token=sight[1]))

    return view(train), None if validation is None else view(validation)


def _fit(
    configs: Mapping[str, ProbeConfig], train: _View, validation: _View | None, *, seed: int, on: _Means
) -> dict[_Key, Probe]:
    """Fit probes that see the same tokens."""
    found, data = survey(train.selection), train.data
    vectors = {
        "mean": RecordVectors(found.means, data.labels, data.groups, data.weights),
        "last": RecordVectors(found.lasts, data.labels, data.groups, data.weights),
    }
    fitted: dict[_Key, Probe] = {}
    descending: dict[_Key, DescentConfig] = {}
    for name, config in configs.items():
        fitting = FAMILIES[config.family].fitting
        for number in range(seed, seed + config.seeds):
            if isinstance(fitting, Exact):
                solved = fitting.solve(vectors[fitting.reduction], config, number)
                fitted[name, number] = _probe(config, train, number, solved)
            elif isinstance(config, DescentConfig):
                descending[name, number] = config
            else:
                raise TypeError(f"family {config.family} fits by descent and needs a DescentConfig")
    if not descending:
        return fitted
    from models_under_pressure.probes.batches import robust_space

    space = robust_space(found.sample)
    members = _members(descending, space.from_activations(mean_token_solution(vectors["mean"])))
    return fitted | _descend(members, space, train, validation, on)


def _members(configs: Mapping[_Key, DescentConfig], mean: Weights) -> dict[_Key, "Member"]:
    """The probes to be trained, each where its family starts from the solution for the mean over tokens."""
    from models_under_pressure.probes.descent import Member

    members: dict[_Key, Member] = {}
    for (name, number), config in configs.items():
        family = FAMILIES[config.family]
        if isinstance(family.fitting, Descent):
            start = family.fitting.start(mean, config, np.random.default_rng(number))
            members[name, number] = Member(family, config, config, start)
    return members


def _descend(
    members: Mapping[_Key, "Member"], space: "Space", train: _View, validation: _View | None, on: _Means
) -> dict[_Key, Probe]:
    """Train members, those with the same batch size together."""
    from models_under_pressure.probes.batches import Pools
    from models_under_pressure.probes.descent import Split, descend

    fitted: dict[_Key, Probe] = {}
    device, memory = device_of(on.device), on.memory
    check = None
    if validation is not None:
        memory //= 2
        held_out = Pools(validation.selection, 1, None, cache_bytes=memory, device=device)
        check = Split(held_out, validation.data.labels)
    for size in dict.fromkeys(member.settings.batch_size for member in members.values()):
        same = {key: member for key, member in members.items() if member.settings.batch_size == size}
        order = np.random.default_rng(_ORDER_SEED)
        pools = Pools(train.selection, size, order, cache_bytes=memory, device=device)
        split = Split(pools, train.data.labels, train.data.weights)
        results = descend(list(same.values()), space, split, check, np.random.default_rng(_ORDER_SEED), device)
        for (key, member), result in zip(same.items(), results, strict=True):
            probe = _probe(member.config, train, key[1], result.weights)
            notes = {"best_epoch": float(result.epoch), "epochs": float(len(result.history))}
            fitted[key] = replace(probe, metrics=notes, history=result.history)
    return fitted


def _probe(config: ProbeConfig, train: _View, seed: int, found: Weights) -> Probe:
    """Put weights and provenance together."""
    weights = found.named
    if FAMILIES[config.family].by_sentence and train.selection.end_ids is not None:
        weights[SENTENCE_END_IDS] = train.selection.end_ids
    provenance = train.data.provenance | {
        "training_data_hash": train.data.content_hash,
        "training_records": len(train.data.labels),
        "ambiguous_left_out": train.data.ambiguous,
    }
    return Probe(config.model_copy(update={"seeds": 1}), weights, seed, provenance)


def _judged(probes: Sequence[Probe], validation: TrainingData | None, device: DeviceName) -> list[Probe]:
    """The probes with thresholds, calibration and metrics from their logits on the validation split."""
    if validation is None:
        return list(probes)
    labels, judged = validation.labels, list[Probe]()
    for probe, logits in zip(probes, score_together(probes, validation.activations, device=device), strict=True):
        found = {"validation_auroc": auroc(logits, labels), "validation_records": float(len(labels))}
        judged.append(
            replace(
                probe,
                thresholds=threshold_table(logits, labels, probe.config.budgets),
                calibration=fit_calibration(probe.config.calibration, logits, labels),
                metrics={**probe.metrics, **found},
                history=probe.history or ({"validation_auroc": found["validation_auroc"]},),
            )
        )
    return judged
