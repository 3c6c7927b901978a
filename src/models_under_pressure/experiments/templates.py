"""The wordings that a model was asked with, compared on the dev sets (McKenzie et al. 2025, figure 10)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.evaluation.delong import delong
from models_under_pressure.evaluation.summary import mean_over_datasets

Row = dict[str, Any]
Logits = Mapping[str, float]
"""Record id -> logit."""


def compare_templates(
    asked: Mapping[str, Mapping[str, Mapping[str, Logits]]],
    chosen: Mapping[str, str],
    dev: Sequence[LabelledRecords],
    *,
    confidence: float = 0.95,
) -> list[Row]:
    """AUROC of every model and wording on every dev set of two classes.

    Args:
        asked: monitor -> wording -> dataset -> logits.
        chosen: monitor -> the wording that it uses on the test sets.
        dev: the dev sets.
        confidence: coverage of the intervals (DeLong, grouped; means by MOVER).

    Returns:
        Rows with `dataset`, `model`, `template`, `chosen` and AUROC; then, of each model and wording, the mean over the
        dev sets, whose `dataset` is `mean`.

    Raises:
        KeyError: a record has no logit.
    """
    rows: list[Row] = []
    both = [data for data in dev if data.labels.any() and not data.labels.all()]
    for model, templates in asked.items():
        for template, by_dataset in templates.items():
            origin = {"model": model, "template": template, "chosen": template == chosen[model]}
            parts = [_measured(data, by_dataset[data.name], confidence) for data in both]
            rows += [{"dataset": data.name} | origin | part for data, part in zip(both, parts, strict=True)]
            if parts:
                rows.append({"dataset": "mean"} | origin | mean_over_datasets(parts))
    return rows


def _measured(data: LabelledRecords, logits: Logits, confidence: float) -> Row:
    scores = np.array([logits[record.id] for record in data.records])
    estimate = delong(scores, data.labels, data.groups, confidence=confidence)
    ends = {"auroc": estimate.value, "auroc_low": estimate.low, "auroc_high": estimate.high}
    counts = {"n": len(data.records), "positives": int(data.labels.sum())}
    return {name: round(value, 4) for name, value in ends.items()} | counts
