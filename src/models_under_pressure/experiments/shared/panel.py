"""Probes that are tried together on texts which no store holds: each text is read by the model once for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from models_under_pressure.activations.config import ExtractConfig, LoadedModel
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.layers import layers_of
from models_under_pressure.core.records import Record
from models_under_pressure.experiments.shared.samples import generator_of
from models_under_pressure.experiments.shared.setting import Setting
from models_under_pressure.probes.calibration import stored_threshold
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import FAMILIES, ProbeConfig
from models_under_pressure.probes.operating import with_control
from models_under_pressure.probes.probe import Probe, score_together
from models_under_pressure.probes.training import fit_probe, fit_probes
from models_under_pressure.probes.weights import RecordWeights


@dataclass(frozen=True, eq=False)
class Read:
    """What the probes make of one text."""

    logits: Float[np.ndarray, "probes"]
    tokens: int
    is_truncated: bool
    """Whether the extraction cut the text, which is then not the one that was meant."""


@dataclass(frozen=True, eq=False)
class Panel:
    """The probes, and the model that they read."""

    probes: Mapping[str, Probe]
    controls: Sequence[Probe]
    """Mean probes that were fitted on shuffled labels, which can have learned nothing."""
    model: LoadedModel
    layers: tuple[int, ...]
    extract: ExtractConfig

    def read(self, records: Sequence[Record]) -> dict[str, Read]:
        """Record id -> logits of all probes, then of all controls; a text that the chat template refuses has none."""
        from models_under_pressure.activations.layers import read_once

        config = self.extract.model_copy(update={"allow_refused": len(records), "stored": "float32"})
        with read_once(records, self.model, self.layers, config) as found:
            store: Any = found
            logits = np.stack(score_together([*self.probes.values(), *self.controls], store), axis=1)
            truncated = set(store.attributes["truncated"])
            lengths = np.diff(np.asarray(store.offsets)).tolist()
        return {
            id_: Read(row, length, id_ in truncated)
            for id_, row, length in zip(store.ids, logits, lengths, strict=True)
        }


def fit_panel(
    probes: Mapping[str, ProbeConfig],
    setting: Setting,
    model: LoadedModel,
    extract: ExtractConfig,
    *,
    shuffles: int,
    control: Sequence[TrainingData] = (),
    weights: RecordWeights | None = None,
) -> Panel:
    """Fit every probe once, from the first seed, as the pipeline does; and a control per shuffle of the labels.

    Thresholds come from `control`, ordinary traffic, where there is some; `weights` are those of the training prompts.

    Raises:
        UserError: see `fit_probes`.
    """
    single = {name: config.model_copy(update={"seeds": 1}) for name, config in probes.items()}
    train, validation = setting.train.data, setting.validation.data
    if weights is not None:
        train = replace(train, weights=weights.of(setting.train.records, train.labels))
    fitted = {name: one for name, (one,) in fit_probes(single, train, validation, seed=setting.seed).items()}
    if control:
        fitted = {name: with_control(one, control, validation) for name, one in fitted.items()}
    shuffled = [generator_of(setting.seed, number, "control").permutation(train.labels) for number in range(shuffles)]
    controls = [
        fit_probe(FAMILIES["mean_logistic"].config(), replace(train, labels=labels), None, seed=setting.seed)
        for labels in shuffled
    ]
    return Panel(fitted, controls, model, layers_of(train.activations.attributes), extract)


def threshold_of(name: str, probe: Probe, budget: float) -> tuple[float, str]:
    """The logit from which a probe flags, and what that was chosen on; infinity where nothing keeps the budget.

    Raises:
        UserError: the probe has no threshold of that budget.
    """
    row = stored_threshold(name, probe.thresholds, budget)
    if row is None:
        known = ", ".join(f"{row.budget:g}" for row in probe.thresholds) or "none"
        problem = f"{name} has no threshold for a false positive rate of {budget:g} (there are: {known})."
        raise UserError(problem, remedy="name one of these, or add it to the probe's `budgets` and train again.")
    return float("inf") if row.logit is None else row.logit, row.source
