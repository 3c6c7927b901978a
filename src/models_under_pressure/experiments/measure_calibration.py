"""Compare probabilities with labels and with the 1-10 scale, before and after recalibration.

McKenzie et al. 2025, figures 15 to 17. A map is fitted on the logits of one split and judged on others only: one fitted
on the records that judge it would look calibrated whatever it is worth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field

from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, datasets_in_use
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.evaluation.intervals import Estimate
from models_under_pressure.evaluation.metrics import EQUAL_MASS, EQUAL_WIDTH, reliability
from models_under_pressure.evaluation.report import EvaluateConfig, estimate_scores, mean_over_datasets
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.experiments.shared.monitors import Scores, find_monitor, read_monitors
from models_under_pressure.experiments.shared.rows import Row
from models_under_pressure.probes.calibration import Calibration, fit_calibration

Scales = Mapping[str, Mapping[str, int]]
"""Dataset -> record id -> stakes on the 1-10 scale, where the labeller gave them."""

POOLED = "pooled"
"""Stands for a dataset in rows over all records of a purpose."""
UNCHANGED = "none"
"""Stands for a recalibration in rows of the probabilities as they are."""


class MeasureCalibration(Section):
    """Whose probabilities are judged, and how they are recalibrated first."""

    monitors: tuple[str, ...] = Field(min_length=1)
    """Names in score files; the first seed of each."""
    fit_on: Literal["validation", "dev"]
    """Purpose of the datasets that maps are fitted on; these are not judged."""
    recalibrations: tuple[Literal["platt", "isotonic", "temperature"], ...]
    """Kinds of map from logit to probability; the probabilities as they are come first in any case."""


def command() -> None:
    """Compare probabilities with labels and with the 1-10 scale, before and after recalibration.

    Example: mup measure_calibration
    """
    config, measured = read("measure_calibration", MeasureCalibration, EXPERIMENTS), read("evaluate", EvaluateConfig)
    datasets = {one.name: one for one in datasets_in_use(config.fit_on, "dev", "test")}
    purposes = {name: one.purpose for name, one in datasets.items()}
    scales = {
        name: {row.id: row.scale_label for row in read_records(one.path, one.classes) if row.scale_label is not None}
        for name, one in datasets.items()
    }
    found = run(config, read_monitors(list(datasets)), purposes, scales, measured=measured, seed=read("seed", int))
    write_json(EXPERIMENT_RESULTS / "measure_calibration.json", found)


def run(
    config: MeasureCalibration,
    scores: Scores,
    purposes: Mapping[str, str],
    scales: Scales,
    *,
    measured: EvaluateConfig,
    seed: int,
) -> dict[str, Any]:
    """Judge every monitor on every dataset whose purpose is dev or test and is not the one that maps are fitted on.

    Returns:
        `evaluation.rows.Calibration`: errors by dataset, then means over the datasets of a purpose; bins and scale by
        dataset, then over all records of a purpose (`dataset` is `pooled`).

    Raises:
        UserError: a monitor has no scores of a dataset that it is judged on.
    """
    judged = [name for name, purpose in purposes.items() if purpose in ("dev", "test") and purpose != config.fit_on]
    found: dict[str, Any] = {"monitors": {}, "errors": [], "bins": [], "scale": []}
    for monitor in config.monitors:
        fitted = [scores[name] for name, purpose in purposes.items() if purpose == config.fit_on and name in scores]
        maps, found["monitors"][monitor] = _fitted(monitor, fitted, config)
        scored = [find_monitor(scores[name], monitor, name, named_in="measure_calibration.monitors") for name in judged]
        for recalibration, fit in maps.items():
            lists = [replace(one, probabilities=fit.probabilities(one.logits)) if fit else one for one in scored]
            origin = {"monitor": monitor, "recalibration": recalibration}
            for kind, rows in _rows(lists, purposes, scales, measured, seed).items():
                found[kind] += [origin | row for row in rows]
    return found


def _fitted(
    monitor: str, fitted: Sequence[Mapping[str, ScoreList]], config: MeasureCalibration
) -> tuple[dict[str, Calibration | None], Row]:
    """The maps to judge, first none at all, and what they were fitted on."""
    maps: dict[str, Calibration | None] = {UNCHANGED: None}
    lists = [found[monitor] for found in fitted if monitor in found]
    if not lists or len(lists) < len(fitted):
        return maps, {"reason": f"not every {config.fit_on} set has scores of it, so that no map can be fitted"}
    logits = np.concatenate([one.logits for one in lists])
    labels = np.concatenate([one.labels for one in lists])
    if labels.all() or not labels.any():
        return maps, {"reason": f"the {config.fit_on} sets hold one class only"}
    maps |= {method: fit_calibration(method, logits, labels) for method in config.recalibrations}
    return maps, {"fitted_on": [one.dataset for one in lists], "n": len(labels), "positives": int(labels.sum())}


def _rows(
    lists: Sequence[ScoreList], purposes: Mapping[str, str], scales: Scales, measured: EvaluateConfig, seed: int
) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {"errors": [], "bins": [], "scale": []}
    for purpose in dict.fromkeys(purposes[one.dataset] for one in lists):
        part = [one for one in lists if purposes[one.dataset] == purpose]
        errors = [_errors(one, measured, seed) | _rank_correlation(one, scales, measured.confidence) for one in part]
        means = {"dataset": "mean", **mean_over_datasets(errors)}
        named = [{"dataset": one.dataset} | row for one, row in zip(part, errors, strict=True)]
        found["errors"] += [{"purpose": purpose} | row for row in [*named, means]]
        for name, group in [(one.dataset, [one]) for one in part] + [(POOLED, part)]:
            origin = {"dataset": name, "purpose": purpose}
            found["bins"] += [origin | row for row in _bins(group, measured)]
            found["scale"] += [origin | row for row in _by_stakes(group, scales, measured.confidence)]
    return found


def _errors(one: ScoreList, measured: EvaluateConfig, seed: int) -> Row:
    """Brier score and expected calibration errors (bins of equal width, of equal mass), grouped bootstrap."""
    found = estimate_scores(None, one.labels, one.groups, config=measured, seed=seed, probabilities=one.probabilities)
    row: Row = {"n": len(one.ids), "positives": int(one.labels.sum())}
    for name in ("brier", "ece", "adaptive_ece"):
        row |= found[name].columns(name)
    return row


def _bins(lists: Sequence[ScoreList], measured: EvaluateConfig) -> list[Row]:
    """Reliability with exact intervals, records taken as independent."""
    probabilities = np.concatenate([one.probabilities for one in lists])
    labels = np.concatenate([one.labels for one in lists])
    rows: list[Row] = []
    for binning in (EQUAL_WIDTH, EQUAL_MASS):
        for part in reliability(probabilities, labels, measured.bins, binning, measured.confidence):
            counts = {"n": part.n, "positives": part.positives, "records": len(labels)}
            rows.append({"binning": binning} | part.columns() | counts)
    return rows


def _scale(one: ScoreList, scales: Scales) -> Int[np.ndarray, "records"]:
    """Stakes of each record, 0 where they are not known."""
    known = scales.get(one.dataset, {})
    return np.array([known.get(id_, 0) for id_ in one.ids], dtype=np.int64)


def _by_stakes(lists: Sequence[ScoreList], scales: Scales, confidence: float) -> list[Row]:
    """Mean probability at each value of the scale, with Student's interval; without one where a value has one record.

    On a calibrated 1-10 scale, stakes s would get the probability (s - 1) / 9, the paper's line.
    """
    from scipy.special import stdtrit

    stakes = np.concatenate([_scale(one, scales) for one in lists])
    probabilities = np.concatenate([one.probabilities for one in lists])
    rows: list[Row] = []
    for value in np.unique(stakes[stakes > 0]).tolist():
        own = probabilities[stakes == value]
        row: Row = {"stakes": value, "n": len(own), "mean": round(float(own.mean()), 4)}
        if len(own) > 1:
            quantile = -stdtrit(len(own) - 1, (1.0 - confidence) / 2.0)
            reach = float(quantile * own.std(ddof=1) / np.sqrt(len(own)))
            ends = np.clip([own.mean() - reach, own.mean() + reach], 0.0, 1.0).round(4).tolist()
            row |= dict(zip(("low", "high"), ends, strict=True))
        rows.append(row)
    return rows


def _rank_correlation(one: ScoreList, scales: Scales, confidence: float) -> Row:
    """Spearman's correlation of probability and stakes, interval by Fisher's z (Bonett and Wright 2000, equation 3).

    Empty where fewer than 4 records have stakes, or either is constant.
    """
    from scipy import stats
    from scipy.special import ndtri

    stakes = _scale(one, scales)
    known = stakes > 0
    sides = one.probabilities[known], stakes[known]
    if len(sides[0]) < 4 or any(len(np.unique(side)) < 2 for side in sides):
        return {}
    untyped: Any = stats
    value = float(untyped.spearmanr(*sides).statistic)
    reach = -ndtri((1.0 - confidence) / 2.0) * np.sqrt((1.0 + value**2 / 2.0) / (len(sides[0]) - 3))
    centre = np.arctanh(np.clip(value, -1 + 1e-9, 1 - 1e-9))
    return {**Estimate(value, *np.tanh([centre - reach, centre + reach]).tolist()).columns("stakes_correlation")}
