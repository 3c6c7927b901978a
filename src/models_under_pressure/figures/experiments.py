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
    measure_calibration,
    measure_data_efficiency,
    measure_generalisation,
    train_on_dev,
)
from models_under_pressure.figures.panels import Row


@dataclass(frozen=True)
class Experiment:
    """How one experiment is shown."""

    results: str
    """File below data/experiments, or folder of files."""
    chart: Callable[[Any], Any]
    finding: Callable[[Any], str]
    """What the figure shows, for readers who cannot see it."""
    summary: Callable[[Any], dict[str, Any]] | None = None
    """Its part of metrics/experiments.json: the few numbers that people compare, the same on every processor."""


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
        found.setdefault(row["purpose"], {})[row["probe"]] = row["auroc"]
    return found


def _chosen(found: Mapping[str, Any]) -> str:
    row = next(row for row in found["layers"] if row["layer"] == found["layer"])
    rule = found["rule"].replace("_", " ")
    return f"Layer {found['layer']} is chosen (rule: {rule}): cross-validated AUROC {_told(row)}."


def _chosen_summary(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"chosen": found["layer"]} | {f"layer_{row['layer']}": row["auroc"] for row in found["layers"]}


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
    """AUROC with the smallest and the largest sample of each series."""

    def summary(rows: Sequence[Row]) -> dict[str, Any]:
        found: dict[str, dict[int, float]] = {}
        for row in _means(rows):
            found.setdefault(row[series], {})[row["size"]] = row["auroc"]
        return {
            name: {f"size_{size}": sizes[size] for size in (min(sizes), max(sizes))} for name, sizes in found.items()
        }

    return summary


def _by_attribute(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Attribute -> mean AUROC of the cells with the value that was trained on (`same`), and of the `other` ones."""
    found: dict[str, dict[str, float]] = {}
    for attribute in dict.fromkeys(row["attribute"] for row in rows):
        cells = [row for row in rows if row["attribute"] == attribute and "auroc" in row]
        for name, same in (("same", True), ("other", False)):
            part = [row["auroc"] for row in cells if (row["trained_on"] == row["tested_on"]) == same]
            if part:
                found.setdefault(attribute, {})[name] = round(fmean(part), 4)
    return found


def _generalised_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Means over the attributes, each counting alike."""
    by_attribute = _by_attribute(rows).values()
    parts = {name: [found[name] for found in by_attribute if name in found] for name in ("same", "other")}
    return {name: round(fmean(part), 4) for name, part in parts.items() if part}


def _generalised(rows: Sequence[Row]) -> str:
    told = [
        f"{attribute.replace('_', ' ')} {means['same']:.2f} and {means['other']:.2f}"
        for attribute, means in _by_attribute(rows).items()
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
        found.setdefault(row["model"], {})[row["template"]] = row["auroc"]
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
    """AUROC of the best selection and share of each pair of monitors."""
    found: dict[str, float] = {}
    for row in _means(rows):
        if row["purpose"] == cascade.PURPOSE and row["kind"] == "cascade":
            name = f"{row['first']}_then_{row['second']}"
            found[name] = max(row["auroc"], found.get(name, 0.0))
    return found


def _methods(rows: Sequence[Row]) -> str:
    told = [f"{row['first']} {_told(row)} at {row['flops_per_token']:.1e}" for row in _alone(rows)]
    return f"Mean AUROC and FLOPs a token: {'; '.join(told)}."


def _errors(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Expected calibration error, mean over the test sets: monitor -> recalibration -> error."""
    errors: dict[str, dict[str, float]] = {}
    for row in found["errors"]:
        if row["dataset"] == "mean" and row["purpose"] == measure_calibration.PURPOSE:
            errors.setdefault(row["monitor"], {})[row["recalibration"]] = row["ece"]
    return errors


def _calibrated_summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Error of the best map of each monitor, to the places that are the same on every processor."""
    return {monitor: round(min(maps.values()), 2) for monitor, maps in _errors(found).items()}


def _calibrated(found: Mapping[str, Any]) -> str:
    told = []
    for monitor, maps in _errors(found).items():
        errors = [f"{name.replace('none', 'as scored')} {error:.2f}" for name, error in maps.items()]
        told.append(f"{monitor} {', '.join(errors)}")
    return f"Expected calibration error, mean over the test sets: {'; '.join(told)}."


def _by_stakes(found: Mapping[str, Any]) -> str:
    told = [
        f"{row['monitor']} {row['stakes_correlation']:.2f}"
        for row in found["errors"]
        if row["dataset"] == "mean"
        and row["purpose"] == measure_calibration.PURPOSE
        and row["recalibration"] == "none"
        and "stakes_correlation" in row
    ]
    return f"Rank correlation of probability and stakes, mean over the test sets: {', '.join(told)}."


EXPERIMENTS: dict[str, Experiment] = {
    "compare_probes": Experiment("compare_probes.jsonl", compare_probes.chart, _compared, _compared_summary),
    "choose_layer": Experiment("choose_layer.json", choose_layer.chart, _chosen, _chosen_summary),
    "train_on_dev": Experiment("train_on_dev.jsonl", train_on_dev.chart, _with_samples, _by_size("mode")),
    "measure_data_efficiency": Experiment(
        "data_efficiency", measure_data_efficiency.chart, _with_prompts, _by_size("method")
    ),
    "measure_generalisation": Experiment(
        "measure_generalisation.jsonl", measure_generalisation.chart, _generalised, _generalised_summary
    ),
    "measure_calibration": Experiment(
        "measure_calibration.json", measure_calibration.chart, _calibrated, _calibrated_summary
    ),
    "calibration_by_stakes": Experiment("measure_calibration.json", measure_calibration.by_stakes, _by_stakes),
    "compare_templates": Experiment("compare_templates.jsonl", compare_templates.chart, _worded, _worded_summary),
    "cascade": Experiment("cascade.jsonl", cascade.chart, _cascaded, _cascaded_summary),
    "compare_methods": Experiment("cascade.jsonl", compare_methods.chart, _methods),
}
"""Name of the figure and of its files, in the order of the page -> how it is made."""
