"""The records that a probe got most wrong."""

from collections.abc import Mapping, Sequence

import numpy as np

from models_under_pressure.core.records import Record
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.report.content import WorstError


def worst_errors(
    lists: Sequence[ScoreList], records: Mapping[str, Mapping[str, Record]], *, most: int = 3
) -> list[WorstError]:
    """The `most` records of each score list whose probability is farthest from their label, worst first.

    Only records on the wrong side of 0.5 count as errors. `records` is dataset -> id -> record.

    Raises:
        KeyError: a scored record is missing.
    """
    found = []
    for scores in lists:
        distance = np.abs(scores.probabilities - scores.labels)
        order = sorted(range(len(scores.ids)), key=lambda row: (-float(distance[row]), scores.ids[row]))
        for row in [row for row in order if distance[row] > 0.5][:most]:
            record = records[scores.dataset][scores.ids[row]]
            found.append(
                WorstError(
                    dataset=scores.dataset,
                    probe=scores.probe,
                    id=record.id,
                    label="high-stakes" if scores.labels[row] else "low-stakes",
                    probability=float(scores.probabilities[row]),
                    text=record.text,
                    scale_label=record.scale_label,
                    explanation=record.scale_label_explanation,
                    labeller=record.scale_label_model,
                )
            )
    return found
