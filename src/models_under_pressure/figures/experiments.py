"""The figures of the experiments: for each, its results, its chart, its finding in words, and what git tracks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from models_under_pressure.figures import (
    cascade,
    choose_layer,
    compare_methods,
    compare_probes,
    compare_templates,
    data_efficiency,
    generalisation,
    measure_calibration,
    train_on_dev,
)
from models_under_pressure.figures.panels import Row


@dataclass(frozen=True)
class Experiment:
    """How one experiment is shown."""

    results: str
    """File below data/results, or folder of files."""
    chart: Callable[[Any], Any]
    finding: Callable[[Any], str]
    """What the figure shows, for readers who cannot see it."""
    summary: Callable[[Any], dict[str, Any]]
    """Its part of metrics/experiments.json."""


def _estimate(row: Row) -> dict[str, float | int]:
    return {key: row[key] for key in ("auroc", "auroc_low", "auroc_high", "n")}


def _told(row: Row) -> str:
    return f"{row['auroc']:.2f} [{row['auroc_low']:.2f}, {row['auroc_high']:.2f}]"


def _means(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["dataset"] == "mean"]


def _compared(rows: Sequence[Row]) -> str:
    told = []
    for purpose in dict.fromkeys(row["purpose"] for row in rows):
        part = sorted((row for row in _means(rows) if row["purpose"] == purpose), key=lambda row: -row["auroc"])
        told.append(
            f"Mean AUROC over {part[0]['datasets']} {purpose} sets: highest {part[0]['probe']} {_told(part[0])}, "
            f"lowest {part[-1]['probe']} {_told(part[-1])}."
        )
    return " ".join(told)


def _compared_summary(rows: Sequence[Row]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for row in _means(rows):
        found.setdefault(f"mean_{row['purpose']}", {})[row["probe"]] = _estimate(row)
    return found


def _chosen(found: Mapping[str, Any]) -> str:
    row = next(row for row in found["layers"] if row["layer"] == found["layer"])
    rule = found["rule"].replace("_", " ")
    return f"Layer {found['layer']} is chosen (rule: {rule}): cross-validated AUROC {_told(row)}."


def _chosen_summary(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"chosen": found["layer"]} | {f"layer_{row['layer']}": _estimate(row) for row in found["layers"]}


def _with_samples(rows: Sequence[Row]) -> str:
    means = _means(rows)
    initial = next(row for row in means if row["mode"] == "initial")
    largest = max(row["size"] for row in means)
    told = [f"{row['mode'].replace('_', ' ')} {_told(row)}" for row in means if row["size"] == largest]
    return f"Mean AUROC without samples {_told(initial)}; with {largest} samples: {', '.join(told)}."


def _with_prompts(rows: Sequence[Row]) -> str:
    means = _means(rows)
    told = []
    for method in dict.fromkeys(row["method"] for row in means):
        part = sorted((row for row in means if row["method"] == method), key=lambda row: row["size"])
        told.append(f"{method} {_told(part[0])} to {_told(part[-1])}")
    sizes = sorted({row["size"] for row in means})
    return f"Mean AUROC from {sizes[0]} to {sizes[-1]:,} training prompts: {'; '.join(told)}."


def _by_size(series: str) -> Callable[[Sequence[Row]], dict[str, Any]]:
    def summary(rows: Sequence[Row]) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = {}
        for row in _means(rows):
            found.setdefault(row[series], {})[f"size_{row['size']}"] = _estimate(row)
        return found

    return summary


def _generalised_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Mean AUROC of the cells with the value that was trained on, and of the others."""
    found: dict[str, dict[str, float]] = {}
    for attribute in dict.fromkeys(row["attribute"] for row in rows):
        cells = [row for row in rows if row["attribute"] == attribute and "auroc" in row]
        for name, same in (("same", True), ("other", False)):
            part = [row["auroc"] for row in cells if (row["trained_on"] == row["tested_on"]) == same]
            if part:
                found.setdefault(attribute, {})[name] = round(fmean(part), 4)
    return found


def _generalised(rows: Sequence[Row]) -> str:
    told = [
        f"{attribute.replace('_', ' ')} {means['same']:.2f} and {means['other']:.2f}"
        for attribute, means in _generalised_summary(rows).items()
        if {"same", "other"} <= set(means)
    ]
    return f"Mean AUROC on the value trained on and on the others: {'; '.join(told)}."


def _worded(rows: Sequence[Row]) -> str:
    told = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in _means(rows) if row["model"] == model]
        told.append(f"{model}: {', '.join(row['template'].replace('_', ' ') + ' ' + _told(row) for row in own)}")
    return f"Mean AUROC over the dev sets by wording: {'; '.join(told)}."


def _worded_summary(rows: Sequence[Row]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for row in _means(rows):
        found.setdefault(row["model"], {})[row["template"]] = _estimate(row)
    return found


def _alone(rows: Sequence[Row]) -> list[Row]:
    return [row for row in _means(rows) if row["purpose"] == cascade.PURPOSE and row["kind"] == "alone"]


def _cascaded(rows: Sequence[Row]) -> str:
    means = [row for row in _means(rows) if row["purpose"] == cascade.PURPOSE]
    best = max((row for row in means if row["kind"] == "cascade"), key=lambda row: row["auroc"])
    told = [f"{row['first']} alone {_told(row)} at {row['flops']:.1e}" for row in _alone(rows)]
    return (
        f"Mean AUROC and FLOPs a record: {'; '.join(told)}; the best cascade {_told(best)} at {best['flops']:.1e} "
        f"({best['first']}, then {best['second']} for {best['share']:.0%}, {best['selection']})."
    )


def _cascaded_summary(rows: Sequence[Row]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for row in _means(rows):
        if row["purpose"] == cascade.PURPOSE and row["kind"] == "cascade":
            name = f"{row['first']}_then_{row['second']}_{row['selection']}"
            # Without intervals, which are in the results: a comment on a pull request must hold the difference.
            found.setdefault(name, {})[f"share_{100 * row['share']:.0f}pct"] = row["auroc"]
    return found


def _costed(row: Row) -> dict[str, float | int]:
    return _estimate(row) | {"flops": float(f"{row['flops']:.4g}")}


def _methods(rows: Sequence[Row]) -> str:
    told = [f"{row['first']} {_told(row)} at {row['flops_per_token']:.1e}" for row in _alone(rows)]
    return f"Mean AUROC and FLOPs a token: {'; '.join(told)}."


def _methods_summary(rows: Sequence[Row]) -> dict[str, Any]:
    return {row["first"]: _costed(row) for row in _alone(rows)}


def _calibrated_summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Brier score and calibration errors, mean over the test sets: monitor -> recalibration -> error."""
    kept = ("brier", "ece", "adaptive_ece")
    summary: dict[str, dict[str, Any]] = {}
    for row in found["errors"]:
        if row["dataset"] == "mean" and row["purpose"] == measure_calibration.PURPOSE:
            summary.setdefault(row["monitor"], {})[row["recalibration"]] = {name: row[name] for name in kept}
    return summary


def _calibrated(found: Mapping[str, Any]) -> str:
    told = []
    for monitor, maps in _calibrated_summary(found).items():
        errors = [f"{name.replace('none', 'as scored')} {row['ece']:.2f}" for name, row in maps.items()]
        told.append(f"{monitor} {', '.join(errors)}")
    return f"Expected calibration error, mean over the test sets: {'; '.join(told)}."


def _correlations(found: Mapping[str, Any]) -> dict[str, Any]:
    name = "stakes_correlation"
    return {
        row["monitor"]: {key: row[key] for key in (name, f"{name}_low", f"{name}_high", "n")}
        for row in found["errors"]
        if row["dataset"] == "mean"
        and row["purpose"] == measure_calibration.PURPOSE
        and row["recalibration"] == "none"
        and name in row
    }


def _by_stakes(found: Mapping[str, Any]) -> str:
    told = [f"{monitor} {row['stakes_correlation']:.2f}" for monitor, row in _correlations(found).items()]
    return f"Rank correlation of probability and stakes, mean over the test sets: {', '.join(told)}."


EXPERIMENTS: dict[str, Experiment] = {
    "compare_probes": Experiment("compare_probes.jsonl", compare_probes.chart, _compared, _compared_summary),
    "choose_layer": Experiment("choose_layer.json", choose_layer.chart, _chosen, _chosen_summary),
    "train_on_dev": Experiment("train_on_dev.jsonl", train_on_dev.chart, _with_samples, _by_size("mode")),
    "measure_data_efficiency": Experiment("data_efficiency", data_efficiency.chart, _with_prompts, _by_size("method")),
    "measure_generalisation": Experiment(
        "measure_generalisation.jsonl", generalisation.chart, _generalised, _generalised_summary
    ),
    "compare_templates": Experiment("compare_templates.jsonl", compare_templates.chart, _worded, _worded_summary),
    "cascade": Experiment("cascade.jsonl", cascade.chart, _cascaded, _cascaded_summary),
    "compare_methods": Experiment("cascade.jsonl", compare_methods.chart, _methods, _methods_summary),
    "measure_calibration": Experiment(
        "measure_calibration.json", measure_calibration.chart, _calibrated, _calibrated_summary
    ),
    "calibration_by_stakes": Experiment(
        "measure_calibration.json", measure_calibration.by_stakes, _by_stakes, _correlations
    ),
}
