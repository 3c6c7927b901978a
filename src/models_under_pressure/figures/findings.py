"""What the figures show, in words and from the same rows: for readers who cannot see them, and for a first look."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from models_under_pressure.figures.panels import Row, percent, split

NOTHING = "No dataset here holds both classes."


def of_auroc(rows: Sequence[Row]) -> str:
    """The best mean of each purpose."""
    sentences = []
    for (purpose,), part in split([row for row in rows if "auroc" in row], "purpose").items():
        means = {probe: fmean(row["auroc"] for row in own) for (probe,), own in split(part, "probe").items()}
        best = max(means, key=lambda probe: means[probe])
        datasets = len(split(part, "dataset"))
        over = f"{datasets} {purpose} datasets" if datasets > 1 else f"the {purpose} dataset"
        among = f", the highest of {len(means)}" if len(means) > 1 else ""
        sentences.append(f"{best} has a mean AUROC of {means[best]:.2f} over {over}{among}.")
    return " ".join(sentences) or NOTHING


def of_tpr(rows: Sequence[Row], budget: float) -> str:
    """The best mean of each purpose within the budget."""
    sentences = []
    for (purpose,), part in split([row for row in rows if "tpr" in row], "purpose").items():
        means = {probe: fmean(row["tpr"] for row in own) for (probe,), own in split(part, "probe").items()}
        best = max(means, key=lambda probe: means[probe])
        datasets = len(split(part, "dataset"))
        sentences.append(
            f"Within {percent(budget)} false positives, {best} finds most high-stakes records of the {purpose} "
            f"datasets: {means[best]:.0%}, mean over {datasets}."
        )
    return " ".join(sentences) or NOTHING


def of_roc(rows: Sequence[Row], budget: float) -> str:
    """TPR within the budget, lowest and highest over datasets."""
    return _each(
        rows,
        lambda part: max(row["tpr"] for row in part if row["fpr"] <= budget),
        f"Within {percent(budget)} false alarms, {{probe}} finds {{low:.0%}} ({{lowest}}) to {{high:.0%}} "
        "({highest}) of the high-stakes records.",
    )


def of_precision_recall(rows: Sequence[Row], recall: float = 0.8) -> str:
    """Best precision among thresholds that reach a recall."""
    return _each(
        rows,
        lambda part: max(row["precision"] for row in part if row["recall"] >= recall),
        f"Finding at least {recall:.0%} of the high-stakes records, {{probe}} is right in {{low:.0%}} ({{lowest}}) to "
        "{high:.0%} ({highest}) of its alarms.",
    )


def of_score_histogram(rows: Sequence[Row]) -> str:
    """Records on the wrong side of 0.5, all datasets together."""
    sentences = []
    for (probe,), part in split(rows, "probe").items():
        wrong = {
            label: sum(row["count"] for row in own if (row["low"] >= 0.5) == (label == "low-stakes"))
            / sum(row["count"] for row in own)
            for (label,), own in split(part, "label").items()
        }
        sentences.append(
            f"{probe} puts {wrong['high-stakes']:.0%} of high-stakes records below one half, and "
            f"{wrong['low-stakes']:.0%} of low-stakes records above."
        )
    return " ".join(sentences) or NOTHING


def of_reliability(rows: Sequence[Row]) -> str:
    """Calibration error, lowest and highest over datasets."""
    return _each(
        rows,
        lambda part: part[0]["ece"],
        "The calibration error of {probe} is {low:.2f} ({lowest}) to {high:.2f} ({highest}).",
    )


def of_confusion(rows: Sequence[Row], budget: float) -> str:
    """Alarms, all datasets together."""
    sentences = []
    for (probe,), part in split(rows, "probe").items():
        totals = {label: sum(row["count"] for row in own) for (label,), own in split(part, "label").items()}
        alarms = {
            label: sum(row["count"] for row in own if row["flagged"] == "flagged")
            for (label,), own in split(part, "label").items()
        }
        sentences.append(
            f"Keeping {percent(budget)} false alarms in each dataset, {probe} flags {alarms['high-stakes']:,} of "
            f"{totals['high-stakes']:,} high-stakes and {alarms['low-stakes']:,} of {totals['low-stakes']:,} "
            "low-stakes records."
        )
    return " ".join(sentences) or NOTHING


def of_auroc_by_length(rows: Sequence[Row]) -> str:
    """In how many datasets the shortest and the longest bin is the worst."""
    sentences = []
    for (probe,), part in split(rows, "probe").items():
        datasets = [sorted(own, key=lambda row: row["bin"]) for own in split(part, "dataset").values()]
        worst = [min(own, key=lambda row: row["auroc"]) for own in datasets]
        short = sum(row["bin"] == own[0]["bin"] for row, own in zip(worst, datasets, strict=True))
        long = sum(row["bin"] == own[-1]["bin"] for row, own in zip(worst, datasets, strict=True))
        sentences.append(
            f"AUROC of {probe} is lowest among the shortest records in {short} and among the longest in {long} of "
            f"{len(datasets)} datasets."
        )
    return " ".join(sentences) or NOTHING


def _each(rows: Sequence[Row], number: Callable[[list[dict[str, Any]]], float], sentence: str) -> str:
    """The sentence for every probe, with a number's least and greatest value over datasets."""
    sentences = []
    for (probe,), part in split(rows, "probe").items():
        numbers = {dataset: number(own) for (dataset,), own in split(part, "dataset").items()}
        lowest, highest = min(numbers, key=lambda name: numbers[name]), max(numbers, key=lambda name: numbers[name])
        sentences.append(
            sentence.format(probe=probe, low=numbers[lowest], lowest=lowest, high=numbers[highest], highest=highest)
        )
    return " ".join(sentences) or NOTHING
