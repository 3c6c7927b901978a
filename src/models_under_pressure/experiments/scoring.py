"""AUROC of probes on datasets as rows of results, with intervals that know records and seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float

from models_under_pressure.evaluation.delong import averaged_auroc
from models_under_pressure.evaluation.metrics import auroc, tpr_at_fpr
from models_under_pressure.evaluation.summary import mean_over_datasets
from models_under_pressure.experiments.labelled_set import LabelledSet
from models_under_pressure.probes.probe import Probe, score_together

Row = dict[str, Any]
"""One line of a results file."""


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


Logits = Sequence[Float[np.ndarray, "records"]]
"""Scores of one recipe on the same records, one list per seed or repeat."""


def logits_of(probes: Mapping[Any, Sequence[Probe]], tested: LabelledSet) -> dict[Any, Logits]:
    """Logits of every probe, reading the activations once."""
    every = [probe for group in probes.values() for probe in group]
    scores = iter(score_together(every, tested.data.activations))
    return {key: [next(scores) for _ in group] for key, group in probes.items()}


def auroc_row(logits: Logits, tested: Labelled, *, confidence: float) -> Row:
    """`auroc` with its interval, over records and over seeds, and each seed's own value."""
    labels = tested.labels
    estimate = averaged_auroc(logits, labels, tested.groups, confidence=confidence)
    return {
        "auroc": round(estimate.value, 4),
        "auroc_low": round(estimate.low, 4),
        "auroc_high": round(estimate.high, 4),
        "auroc_of_each": [round(auroc(scores, labels), 4) for scores in logits],
        "tpr_at_1pct_fpr": round(float(np.mean([tpr_at_fpr(scores, labels) for scores in logits])), 4),
        "n": len(labels),
        "positives": int(labels.sum()),
    }


def mean_row(rows: Sequence[Row]) -> Row:
    """Mean over datasets of rows made by `auroc_row`; each dataset counts alike."""
    return dict(mean_over_datasets([{key: value for key, value in row.items() if _is_number(value)} for row in rows]))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
