"""How far two labellings of the same rows agree."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from models_under_pressure.core.display import markdown_table
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, classes_of
from models_under_pressure.evaluation.intervals import Estimate, draw, plan

_RESAMPLES = 1000
_ESTIMATES = {
    "same_label": "same label",
    "kappa": "Cohen's kappa of the labels",
    "weighted_kappa": "quadratically weighted kappa of the scores",
}
"""Field -> what the table calls it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two labellings of the same rows, each estimate with its 95 % interval."""

    rows: int
    """Rows that have both labels; rows that only one side has are counted in `unmatched`."""
    unmatched: int
    same_label: Estimate
    """Share of rows with the same label."""
    kappa: Estimate | None
    """Cohen's kappa (1960) of the three labels; None where it is not defined: both give every row one label."""
    weighted_kappa: Estimate | None
    """Kappa of the 1-10 scores with quadratic weights (Cohen 1968); None if it is not defined or rows lack a score."""
    flips: dict[str, dict[str, int]]
    """Label of the first -> label of the second -> rows."""


def agreement(first: Sequence[Record], second: Sequence[Record], *, seed: int) -> Agreement:
    """Compare two labellings, row by row (by id); intervals come from a bootstrap of whole groups.

    Raises:
        UserError: no row has a label in both.
    """
    other = {record.id: record for record in second if record.label is not None}
    pairs = [(record, other[record.id]) for record in first if record.label is not None and record.id in other]
    if not pairs:
        raise UserError("no row has a label in both labellings.", remedy="compare two versions of one dataset.")
    labels = list(Label)
    codes = np.array([[labels.index(record.label) for record in pair if record.label] for pair in pairs])
    words = classes_of(first)
    scores = [[record.scale_label for record in pair] for pair in pairs]
    weights = _weights([record.group for record, _ in pairs], seed)
    scored = all(score is not None for pair in scores for score in pair)
    flips = {
        words.word(label): {
            words.word(to): int(((codes[:, 0] == row) & (codes[:, 1] == column)).sum())
            for column, to in enumerate(labels)
        }
        for row, label in enumerate(labels)
    }
    same = codes[:, 0] == codes[:, 1]
    return Agreement(
        rows=len(pairs),
        unmatched=len(first) + len(second) - 2 * len(pairs),
        same_label=_interval(float(same.mean()), (weights @ same) / weights.sum(axis=1)),
        kappa=_kappa(codes, range(len(labels)), weights),
        weighted_kappa=_kappa(np.array(scores), range(1, 11), weights) if scored else None,
        flips=flips,
    )


def previous_labelling(records: Sequence[Record]) -> list[Record]:
    """The records with the labels that they had before the last relabelling."""
    return [
        replace(record, label=record.classes.label(before["labels"]), scale_label=before["scale_labels"])
        for record in records
        if (before := record.fields.get("previous_labels")) is not None
    ]


def to_json(result: Agreement) -> dict[str, Any]:
    """The comparison as JSON values; each estimate with its interval."""
    found: dict[str, Any] = {"rows": result.rows, "unmatched": result.unmatched, "flips": result.flips}
    for name in _ESTIMATES:
        estimate: Estimate | None = getattr(result, name)
        found |= {name: None} if estimate is None else estimate.columns(name)
    return found


def to_markdown(result: Agreement) -> str:
    """The comparison as Markdown."""
    rows: list[list[str]] = []
    for name, title in _ESTIMATES.items():
        one: Estimate | None = getattr(result, name)
        cells = ["not defined", ""] if one is None else [f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}"]
        rows.append([title, *cells])
    columns = list(result.flips)
    flips = ([label, *(row[to] for to in columns)] for label, row in result.flips.items())
    heads = (f"first \\ second ({result.rows} rows)", *(f">{column}" for column in columns))
    return markdown_table(("", ">estimate", "95 % interval"), rows) + "\n" + markdown_table(heads, flips)


def _weights(groups: Sequence[str], seed: int) -> Int[np.ndarray, "resamples rows"]:
    whole = plan(np.ones(len(groups), bool), groups)
    return np.concatenate(list(draw(whole, _RESAMPLES, np.random.default_rng(seed))))


def _kappa(
    codes: Int[np.ndarray, "rows 2"], scale: Sequence[int], weights: Int[np.ndarray, "resamples rows"]
) -> Estimate | None:
    """Kappa of two columns of codes; a scale of more than three values is weighted by squared distance."""
    if len(np.unique(codes)) < 2:
        return None
    place = np.searchsorted(scale, codes)
    cells = np.eye(len(scale) ** 2)[place[:, 0] * len(scale) + place[:, 1]]
    tables = np.vstack([cells.sum(axis=0), weights @ cells]).reshape(-1, len(scale), len(scale))
    value, *replicates = _kappas(tables, quadratic=len(scale) > len(Label))
    return _interval(float(value), np.array(replicates)[np.isfinite(replicates)])


def _kappas(tables: Float[np.ndarray, "resamples k k"], *, quadratic: bool) -> Float[np.ndarray, "resamples"]:
    """Kappa of many contingency tables; not a number where both sides give every row the same value."""
    place = np.arange(tables.shape[1], dtype=np.float64)
    distance: Float[np.ndarray, "k k"] = (place[:, None] - place) ** 2 if quadratic else place[:, None] != place
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    expected = np.einsum("ri,rj->rij", rows, columns) / rows.sum(axis=1)[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - (distance * tables).sum(axis=(1, 2)) / (distance * expected).sum(axis=(1, 2))


def _interval(value: float, replicates: Float[np.ndarray, "resamples"]) -> Estimate:
    low, high = np.quantile(replicates, [0.025, 0.975]) if len(replicates) else (value, value)
    return Estimate(value, float(low), float(high))
