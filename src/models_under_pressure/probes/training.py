"""Fitting probes: one pass over the data for all that need one, several seeds at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.errors import UserError
from models_under_pressure.evaluation.metrics import auroc, log_loss
from models_under_pressure.files import stable_hash
from models_under_pressure.probes.calibration import fit_calibration
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.descent import DescentConfig, Member, Standardisation, descend
from models_under_pressure.probes.exact import mean_token_solution
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import Exact, Linear, RecordVectors, Role
from models_under_pressure.probes.origin import check_same_origin
from models_under_pressure.probes.pools import Pools
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.survey import Survey, survey
from models_under_pressure.probes.thresholds import threshold_table
from models_under_pressure.probes.tokens import select


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Activations, and for each record its label and group, in the order of the records."""

    activations: Activations
    labels: Bool[np.ndarray, "records"]
    """True for high-stakes."""
    groups: list[str]
    """Records of one group (a pair of prompts, say) stay together in cross-validation."""

    def __post_init__(self) -> None:
        records = len(self.activations.ids)
        if self.labels.shape != (records,) or len(self.groups) != records:
            raise ValueError(
                f"{records} records, labels of shape {self.labels.shape}, {len(self.groups)} groups: not aligned"
            )
        if self.labels.dtype != np.bool_:
            raise ValueError(f"labels are {self.labels.dtype}, not bool (an ambiguous record is neither class)")


@dataclass(frozen=True, eq=False)
class _Fitted:
    linear: Linear
    notes: dict[str, float]


def fit_probe(config: ProbeConfig, train: TrainingData, validation: TrainingData | None, *, seed: int) -> Probe:
    """Fit one probe, from one seed.

    Raises:
        UserError: see `fit_probes`.
    """
    one = config.model_copy(update={"seeds": 1})
    return fit_probes({config.family: one}, train, validation, seed=seed)[config.family][0]


def fit_probes(
    configs: Mapping[str, ProbeConfig], train: TrainingData, validation: TrainingData | None, *, seed: int
) -> dict[str, list[Probe]]:
    """Fit several probes, each from as many consecutive seeds as it asks for, reading the data together.

    The validation split chooses the epoch, the thresholds and the calibration; without it there are none of these.

    Raises:
        UserError: the data hold one class only, NaN, or a record with no token that a probe sees; the two splits come
            from different models, layers or hook points.
    """
    for data, name in ((train, "training"), (validation, "validation")):
        if data is not None and (data.labels.all() or not data.labels.any()):
            raise UserError(
                f"the {len(data.labels)} {name} records are all of one class.",
                remedy="give records of both classes, high-stakes and low-stakes.",
            )
    if validation is not None:
        check_same_origin(train.activations.attributes, validation.activations.attributes, what="validation data")
    fitted: dict[tuple[str, int], _Fitted] = {}
    for roles in dict.fromkeys(config.tokens for config in configs.values()):
        chosen = {name: config for name, config in configs.items() if config.tokens == roles}
        fitted |= _fit(chosen, roles, train, validation, seed)
    return {
        name: [
            _probe(config, fitted[name, number], train, validation, number)
            for number in range(seed, seed + config.seeds)
        ]
        for name, config in configs.items()
    }


def _fit(
    configs: Mapping[str, ProbeConfig],
    roles: tuple[Role, ...],
    train: TrainingData,
    validation: TrainingData | None,
    seed: int,
) -> dict[tuple[str, int], _Fitted]:
    """Fit probes that see the same tokens."""
    found = survey(select(train.activations, roles))
    fitted: dict[tuple[str, int], _Fitted] = {}
    members: dict[tuple[str, int], Member] = {}
    mean = mean_token_solution(RecordVectors(found.means, train.labels, train.groups))
    for name, config in configs.items():
        family = FAMILIES[config.family]
        for number in range(seed, seed + config.seeds):
            if isinstance(family.fitting, Exact):
                values = found.means if family.fitting.reduction == "mean" else found.lasts
                vectors = RecordVectors(values, train.labels, train.groups)
                fitted[name, number] = _Fitted(family.fitting.solve(vectors, config, number), {})
            else:
                start = family.fitting.start(mean, config, np.random.default_rng(number))
                members[name, number] = Member(family, config, start)
    return fitted | _descend(members, roles, found, train, validation)


def _descend(
    members: Mapping[tuple[str, int], Member],
    roles: tuple[Role, ...],
    found: Survey,
    train: TrainingData,
    validation: TrainingData | None,
) -> dict[tuple[str, int], _Fitted]:
    """Train members, those with the same batch size on the same batches."""
    fitted: dict[tuple[str, int], _Fitted] = {}
    space = Standardisation(found.centre, found.scale)
    generator = np.random.default_rng(0)
    check = None
    if validation is not None and members:
        check = Pools(select(validation.activations, roles), None, generator), validation.labels
    for size in dict.fromkeys(member.config.batch_size for member in members.values()):
        same = {key: member for key, member in members.items() if member.config.batch_size == size}
        # The order of the batches is the same for every seed, so that seeds trained together share their reading.
        pools = Pools(select(train.activations, roles), size, np.random.default_rng(0))
        results = descend(list(same.values()), space, (pools, train.labels), check, np.random.default_rng(1))
        for key, result in zip(same, results, strict=True):
            notes = {"best_epoch": float(result.epoch), "epochs": float(len(result.history))}
            fitted[key] = _Fitted(result.linear, notes)
    return fitted


def _probe(
    config: ProbeConfig, fitted: _Fitted, train: TrainingData, validation: TrainingData | None, seed: int
) -> Probe:
    """Put weights, provenance and what the validation split tells together."""
    attributes = dict(train.activations.attributes)
    content = stable_hash(list(train.activations.ids), train.labels.tolist(), train.groups, attributes)
    probe = Probe(
        config=config.model_copy(update={"seeds": 1}),
        weights={"projection": fitted.linear.projection, "bias": fitted.linear.bias},
        seed=seed,
        provenance=attributes | {"training_data_hash": content, "training_records": len(train.labels)},
        metrics=fitted.notes,
    )
    if validation is None:
        return probe
    logits = probe.decision_function(validation.activations)
    return with_validation(probe, logits, validation.labels)


def with_validation(probe: Probe, logits: np.ndarray, labels: np.ndarray) -> Probe:
    """The probe with thresholds, calibration and metrics from logits of the validation split."""
    from dataclasses import replace

    calibration = fit_calibration(probe.config.calibration, logits, labels)
    return replace(
        probe,
        thresholds=threshold_table(logits, labels, probe.config.budgets),
        calibration=calibration,
        metrics={**probe.metrics, "validation_auroc": auroc(logits, labels), "validation_records": float(len(labels))},
    )
