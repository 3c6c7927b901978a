"""Cross-validate a probe on several layers.

McKenzie et al. 2025, figure 9.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from models_under_pressure.activations.config import Layers, PipelineModel
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, layer_store_path, the_one
from models_under_pressure.core.section import EXPERIMENTS, read
from models_under_pressure.evaluation.differences import delong
from models_under_pressure.evaluation.intervals import Estimate
from models_under_pressure.evaluation.metrics import accuracy
from models_under_pressure.evaluation.report import EvaluateConfig, mean_estimate
from models_under_pressure.experiments.shared.rows import Row
from models_under_pressure.experiments.shared.sets import LabelledSet, read_set
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import FAMILIES, ProbeConfig
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.training import fit_folds

Rule = Literal["best", "one_standard_error"]
"""best: the highest mean AUROC. one_standard_error: the lowest layer whose mean AUROC is at most one standard error
(over folds, of the best layer) below the best, since a lower layer is cheaper (Breiman et al. 1984)."""


class ChooseLayer(Layers):
    """Which layers are compared, and how one is chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: int = Field(ge=2)
    """Parts of the training prompts; pairs stay together."""
    rule: Rule
    """How the layer is chosen."""
    probe: ProbeConfig

    @model_validator(mode="after")
    def _the_probe_can_read_what_is_kept(self) -> "ChooseLayer":
        reads = getattr(FAMILIES[self.probe.family].fitting, "reduction", "tokens")
        if self.keep not in ("tokens", reads):
            raise ValueError(f"a {self.probe.family} probe reads {reads}, and keep is {self.keep}: set keep to {reads}")
        return self


def command() -> None:
    """Cross-validate a probe on several layers.

    Example: mup choose_layer
    """
    config = read("choose_layer", ChooseLayer, EXPERIMENTS)
    model, train = read("model", PipelineModel).name, the_one("train")
    sets = {layer: read_set(train, layer_store_path(model, layer)) for layer in config.layers}
    seed, confidence = read("seed", int), read("evaluate", EvaluateConfig).confidence
    rows = run(sets, config.probe, folds=config.folds, seed=seed, confidence=confidence)
    found = {"layer": pick(rows, config.rule), "rule": config.rule, "probe": config.probe.family, "layers": rows}
    write_json(EXPERIMENT_RESULTS / "choose_layer.json", found)


def run(
    layers: Mapping[int, LabelledSet], probe: ProbeConfig, *, folds: int, seed: int, confidence: float = 0.95
) -> list[Row]:
    """Cross-validate a probe on the activations of each layer, over the same folds of whole groups.

    Raises:
        UserError: too few groups for so many folds; or the layers hold different records.
    """
    first = next(iter(layers.values()))
    for layer, one in layers.items():
        if list(one.data.activations.ids) != list(first.data.activations.ids):
            raise UserError(f"layer {layer} holds other records than the first.", remedy="extract all layers again.")
    rows: list[Row] = []
    for layer, one in sorted(layers.items()):
        found = [_measured(*fold, confidence) for fold in fit_folds(probe, one.data, folds, seed=seed)]
        mean = mean_estimate([fold for fold, _ in found])
        measured = {
            "auroc_of_each": [round(fold.value, 4) for fold, _ in found],
            "accuracy": round(fmean(share for _, share in found), 4),
        }
        counts = {"folds": folds, "n": len(first.records), "positives": int(first.labels.sum())}
        rows.append({"layer": layer} | mean.columns("auroc") | measured | counts)
    return rows


def pick(rows: Sequence[Row], rule: Rule) -> int:
    """The layer that the rule chooses; of equal ones the lowest."""
    best = max(rows, key=lambda row: (row["auroc"], -row["layer"]))
    if rule == "best":
        return best["layer"]
    folds = best["auroc_of_each"]
    least = best["auroc"] - stdev(folds) / len(folds) ** 0.5
    return min(row["layer"] for row in rows if row["auroc"] >= least)


def _measured(fitted: Probe, held_out: TrainingData, confidence: float) -> tuple[Estimate, float]:
    logits = fitted.decision_function(held_out.activations)
    estimate = delong(logits, held_out.labels, held_out.groups, confidence=confidence)
    return estimate, accuracy(fitted.probabilities(logits), held_out.labels)
