"""Which layer a probe should read: grouped cross-validation on the training prompts (McKenzie et al. 2025, fig. 9)."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Literal

import numpy as np

from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.delong import delong
from models_under_pressure.evaluation.estimate import Estimate
from models_under_pressure.evaluation.metrics import accuracy
from models_under_pressure.evaluation.summary import mean_estimate
from models_under_pressure.experiments.labelled_set import LabelledSet, take
from models_under_pressure.experiments.scoring import Row
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.cross_validation import grouped_folds
from models_under_pressure.probes.training import fit_probe

Rule = Literal["best", "one_standard_error"]
"""best: the highest mean AUROC. one_standard_error: the lowest layer whose mean AUROC is at most one standard error
(over folds, of the best layer) below the best, since a lower layer is cheaper (Breiman et al. 1984)."""


def score_layers(
    layers: Mapping[int, LabelledSet], probe: ProbeConfig, *, folds: int, seed: int, confidence: float = 0.95
) -> list[Row]:
    """Cross-validate a probe on the activations of each layer, over the same folds of whole groups.

    Returns:
        A row per layer: `auroc` with its interval (the mean over folds, each with DeLong's) and `accuracy` at
        probability 1/2, the paper's measure.

    Raises:
        UserError: too few groups for so many folds; or the layers hold different records.
    """
    first = next(iter(layers.values()))
    for layer, one in layers.items():
        if list(one.data.activations.ids) != list(first.data.activations.ids):
            raise UserError(f"layer {layer} holds other records than the first.", remedy="extract all layers again.")
    splits = grouped_folds(first.data.labels, first.data.groups, folds, seed)
    rows = []
    for layer, one in sorted(layers.items()):
        found = [_fold(one, probe, *split, seed=seed, confidence=confidence) for split in splits]
        estimate = mean_estimate([fold for fold, _ in found])
        rows.append(
            {
                "layer": layer,
                "auroc": round(estimate.value, 4),
                "auroc_low": round(estimate.low, 4),
                "auroc_high": round(estimate.high, 4),
                "auroc_of_each": [round(fold.value, 4) for fold, _ in found],
                "accuracy": round(fmean(share for _, share in found), 4),
                "folds": folds,
                "n": len(first.records),
                "positives": int(first.data.labels.sum()),
            }
        )
    return rows


def pick(rows: Sequence[Row], rule: Rule) -> int:
    """The layer that the rule chooses; of equal ones the lowest."""
    best = max(rows, key=lambda row: (row["auroc"], -row["layer"]))
    if rule == "best":
        return best["layer"]
    folds = best["auroc_of_each"]
    least = best["auroc"] - stdev(folds) / len(folds) ** 0.5
    return min(row["layer"] for row in rows if row["auroc"] >= least)


def to_table(rows: Sequence[Row], chosen: int) -> str:
    """The layers as text, the chosen one marked."""
    lines = ["layer  AUROC  [95 % interval]    accuracy"]
    for row in rows:
        interval = f"[{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]"
        mark = "  <- chosen" if row["layer"] == chosen else ""
        lines.append(f"{row['layer']:>5}  {row['auroc']:.3f}  {interval:<17}  {row['accuracy']:.3f}{mark}")
    return "\n".join(lines) + f"\nn = {rows[0]['n']:,}, {rows[0]['folds']} folds of whole groups\n"


def _fold(
    one: LabelledSet, probe: ProbeConfig, train: np.ndarray, test: np.ndarray, *, seed: int, confidence: float
) -> tuple[Estimate, float]:
    fitted = fit_probe(probe, take(one, train).data, None, seed=seed)
    held_out = take(one, test).data
    logits = fitted.decision_function(held_out.activations)
    estimate = delong(logits, held_out.labels, held_out.groups, confidence=confidence)
    return estimate, accuracy(fitted.probabilities(logits), held_out.labels)
