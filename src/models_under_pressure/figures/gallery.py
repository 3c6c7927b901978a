"""The figures of the default pipeline: for each, its rows, its chart, and its finding in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.figures import (
    auroc,
    auroc_by_length,
    confusion,
    findings,
    precision_recall,
    reliability,
    roc,
    score_histogram,
    tpr,
)
from models_under_pressure.figures.panels import Row


@dataclass(frozen=True, eq=False)
class Results:
    """What figures are drawn from."""

    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Dataset -> name -> metric with interval ends."""
    purposes: Mapping[str, str]
    """Dataset -> what it is for; figures show the datasets in this order."""
    scores: Sequence[ScoreList]
    """Of the names and datasets that are shown record by record."""
    lengths: Mapping[str, Mapping[str, int]]
    """Dataset -> record id -> length."""
    length_unit: str = "characters"
    budget: float = 0.01
    """False positive rate that thresholds keep."""
    bins: int = 10
    """Of reliability."""
    length_bins: int = 4


@dataclass(frozen=True)
class Drawing:
    """How one figure is made."""

    rows: Callable[[Results], list[dict[str, Any]]]
    chart: Callable[[Sequence[Row], Results], Any]
    finding: Callable[[Sequence[Row], Results], str]
    """What the figure shows, for readers who cannot see it."""


FIGURES: dict[str, Drawing] = {
    "auroc": Drawing(
        lambda results: auroc.rows(results.metrics, results.purposes),
        lambda rows, results: auroc.chart(rows),
        lambda rows, results: findings.of_auroc(rows),
    ),
    "tpr": Drawing(
        lambda results: tpr.rows(results.metrics, results.purposes, results.budget),
        lambda rows, results: tpr.chart(rows, budget=results.budget),
        lambda rows, results: findings.of_tpr(rows, results.budget),
    ),
    "roc": Drawing(
        lambda results: roc.rows(results.scores),
        lambda rows, results: roc.chart(rows, budget=results.budget),
        lambda rows, results: findings.of_roc(rows, results.budget),
    ),
    "precision_recall": Drawing(
        lambda results: precision_recall.rows(results.scores),
        lambda rows, results: precision_recall.chart(rows),
        lambda rows, results: findings.of_precision_recall(rows),
    ),
    "score_histogram": Drawing(
        lambda results: score_histogram.rows(results.scores, budget=results.budget),
        lambda rows, results: score_histogram.chart(rows, budget=results.budget),
        lambda rows, results: findings.of_score_histogram(rows),
    ),
    "reliability": Drawing(
        lambda results: reliability.rows(results.scores, bins=results.bins),
        lambda rows, results: reliability.chart(rows),
        lambda rows, results: findings.of_reliability(rows),
    ),
    "confusion": Drawing(
        lambda results: confusion.rows(results.scores, budget=results.budget),
        lambda rows, results: confusion.chart(rows, budget=results.budget),
        lambda rows, results: findings.of_confusion(rows, results.budget),
    ),
    "auroc_by_length": Drawing(
        lambda results: auroc_by_length.rows(results.scores, results.lengths, bins=results.length_bins),
        lambda rows, results: auroc_by_length.chart(rows, unit=results.length_unit),
        lambda rows, results: findings.of_auroc_by_length(rows),
    ),
}
"""Name of the figure and of its files -> how it is made."""
