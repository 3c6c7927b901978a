"""AUROC as rows of results, with intervals that know records and seeds."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float

from models_under_pressure.evaluation.differences import averaged_auroc
from models_under_pressure.evaluation.intervals import Estimate
from models_under_pressure.evaluation.metrics import auroc, tpr_at_fpr
from models_under_pressure.evaluation.summary import mean_over_datasets

Row = dict[str, Any]
"""One line of a results file."""
Logits = Sequence[Float[np.ndarray, "records"]]
"""Scores of one recipe on the same records, one list per seed or repeat."""


class Labelled(Protocol):
    """What scores are judged by."""

    @property
    def labels(self) -> Bool[np.ndarray, "records"]:
        """True for high-stakes."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """What intervals keep together."""
        ...


def told(name: str, estimate: Estimate) -> Row:
    """A metric with the ends of its interval, rounded to 4 places."""
    ends = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {key: round(value, 4) for key, value in ends.items()}


def auroc_row(logits: Logits, tested: Labelled, *, confidence: float) -> Row:
    """`auroc` with its interval, over records and over seeds, and each seed's own value."""
    labels = tested.labels
    return told("auroc", averaged_auroc(logits, labels, tested.groups, confidence=confidence)) | {
        "auroc_of_each": [round(auroc(scores, labels), 4) for scores in logits],
        "tpr_at_1pct_fpr": round(float(np.mean([tpr_at_fpr(scores, labels) for scores in logits])), 4),
        "n": len(labels),
        "positives": int(labels.sum()),
    }


def means(rows: Sequence[Row], by: Sequence[str], *, datasets: int | None = None) -> list[Row]:
    """Mean over datasets of the rows that agree in the columns `by`; each dataset counts alike.

    Its `dataset` is `mean`. With `datasets`, groups of another number of rows have no mean.
    """
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        parts.setdefault(tuple(row[key] for key in by), []).append(row)
    return [
        {"dataset": "mean"} | dict(zip(by, key, strict=True)) | _mean(part)
        for key, part in parts.items()
        if datasets in (None, len(part))
    ]


def _mean(rows: Sequence[Row]) -> Row:
    return dict(mean_over_datasets([{key: value for key, value in row.items() if _is_number(value)} for row in rows]))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
