"""Monitoring cascades on the scores of any two monitors, and a plan that keeps a budget of FLOPs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.cascade import (
    Band,
    Merge,
    Selection,
    band_of,
    cost,
    inside,
    merge,
    pareto,
    select,
)
from models_under_pressure.evaluation.delong import delong
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.evaluation.summary import mean_over_datasets
from models_under_pressure.experiments.monitors import Scores, find_monitor

Row = dict[str, Any]
_NAMED = "cascade.pairs"
_ORIGIN = ("kind", "first", "second", "selection", "merge", "share")


@dataclass(frozen=True)
class Plan:
    """A cascade that keeps a budget, chosen on dev sets."""

    first: str
    second: str
    selection: Selection
    merge: Merge
    share: float
    """Of the dev records, pooled."""
    band: Band | None
    """Probabilities of the first monitor that send a record on."""
    dev: Row
    """Mean over the dev sets with these thresholds."""
    test: Row
    """The same over the test sets, which had no part in the choice."""
    by_dataset: Sequence[Row]


def cascade(
    scores: Scores,
    purposes: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    *,
    shares: Sequence[float],
    selections: Sequence[Selection],
    how: Merge,
    seed: int,
    confidence: float = 0.95,
) -> list[Row]:
    """Every monitor alone, and every cascade of two.

    Returns:
        Rows with `dataset`, `purpose`, `kind` (alone or cascade), `first`, `second`, `selection`, `merge`, `share`,
        AUROC with its interval (DeLong, grouped), `flops` (mean of a record) and, of monitors alone, `flops_per_token`;
        then the same with the mean over the datasets of a purpose, whose `dataset` is `mean` and which say whether they
        are on the `pareto` front of AUROC against FLOPs.

    Raises:
        UserError: a monitor has no scores of a dataset, or its costs are not known; or two have scores of different
            records.
    """
    rows: list[Row] = []
    for dataset, found in scores.items():
        shown = {"dataset": dataset, "purpose": purposes[dataset]}
        for name in dict.fromkeys(name for pair in pairs for name in pair):
            one = find_monitor(found, name, dataset, named_in=_NAMED)
            alone = {"kind": "alone", "first": name, "second": None, "selection": None, "merge": None, "share": None}
            per_token = {"flops_per_token": _flops(one).sum() / one.tokens.sum()} if one.tokens is not None else {}
            rows.append(shown | alone | _measured(one, one.probabilities, _flops(one), confidence) | per_token)
        for first, second in pairs:
            one, two = _pair(found, first, second, dataset)
            for selection in selections:
                for share in shares:
                    chosen = select(one.probabilities, share, selection, seed=seed)
                    origin = {"kind": "cascade", "first": first, "second": second, "selection": selection}
                    measured = _measured(one, *_joined(one, two, chosen, how), confidence)
                    rows.append(shown | origin | {"merge": how, "share": share} | measured)
    return [*rows, *_means(rows)]


def plan(
    scores: Scores,
    purposes: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    *,
    budget: float,
    shares: Sequence[float],
    selections: Sequence[Selection],
    how: Merge,
    confidence: float = 0.95,
) -> Plan:
    """The cascade with the best mean AUROC on the dev sets among those that keep the budget there.

    Thresholds are those that send a share of the pooled dev records on; a share of 0 is the first monitor alone, and is
    among the candidates. The test sets only see the thresholds.

    Args:
        scores: see `cascade`.
        purposes: dataset -> dev or test.
        pairs: (first, second) monitors.
        budget: FLOPs of a record, on average, beyond what the monitored model computes anyway.
        shares: candidates.
        selections: candidates; `random`, which has no thresholds, is left out.
        how: how two probabilities become one.
        confidence: coverage of the intervals.

    Raises:
        UserError: nothing keeps the budget; or see `cascade`.
    """
    candidates: list[Plan] = []
    cheapest = float("inf")
    for first, second in pairs:
        for selection in selections:
            if selection == "random":
                continue
            for share in dict.fromkeys([0.0, *shares]):
                made = _planned(scores, purposes, first, second, selection, share, how, confidence)
                cheapest = min(cheapest, made.dev["flops"])
                if made.dev["flops"] <= budget:
                    candidates.append(made)
    if not candidates:
        raise UserError(
            f"no cascade keeps {budget:.3g} FLOPs a record; the cheapest needs {cheapest:.3g}.",
            remedy="allow more, or name a cheaper first monitor in cascade.pairs.",
        )
    return max(candidates, key=lambda made: (made.dev["auroc"], -made.dev["flops"]))


def to_text(made: Plan, budget: float) -> str:
    """The plan in words, and a table of what it does on each dataset."""
    if made.band is None:
        rule = f"{made.first} alone"
    else:
        rule = (
            f"{made.first}; where its probability is from {made.band.low:.4f} to {made.band.high:.4f} also "
            f"{made.second}, merged by {made.merge} (selection {made.selection}, {made.share:.0%} of the dev records)"
        )
    lines = [f"Budget {budget:.3g} FLOPs a record. Plan: {rule}.", ""]
    lines.append(f"{'':<24}AUROC  [95 % interval]    sent on  FLOPs/record       n")
    for name, row in [
        *((row["dataset"], row) for row in made.by_dataset),
        ("mean of dev (chosen on)", made.dev),
        ("mean of test", made.test),
    ]:
        interval = f"[{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]"
        sent = f"{row['sent_on']:>7.0%}"
        lines.append(f"{name:<24}{row['auroc']:.3f}  {interval:<17}  {sent}  {row['flops']:>12.3g}  {row['n']:>6,}")
    return "\n".join(lines) + "\n"


def _planned(
    scores: Scores,
    purposes: Mapping[str, str],
    first: str,
    second: str,
    selection: Selection,
    share: float,
    how: Merge,
    confidence: float,
) -> Plan:
    pairs = {dataset: _pair(found, first, second, dataset) for dataset, found in scores.items()}
    pooled = np.concatenate([one.probabilities for dataset, (one, _) in pairs.items() if purposes[dataset] == "dev"])
    band = band_of(pooled, share, selection)
    rows = []
    for dataset, (one, two) in pairs.items():
        chosen = inside(one.probabilities, band)
        row = _measured(one, *_joined(one, two, chosen, how), confidence)
        rows.append({"dataset": dataset, "purpose": purposes[dataset], "sent_on": float(chosen.mean())} | row)
    dev, test = (_mean([row for row in rows if row["purpose"] == purpose]) for purpose in ("dev", "test"))
    return Plan(first, second, selection, how, share, band, dev, test, rows)


def _joined(one: ScoreList, two: ScoreList, chosen: np.ndarray, how: Merge) -> tuple[np.ndarray, np.ndarray]:
    return merge(one.probabilities, two.probabilities, chosen, how), cost(_flops(one), _flops(two), chosen)


def _measured(one: ScoreList, probabilities: np.ndarray, flops: np.ndarray, confidence: float) -> Row:
    estimate = delong(probabilities, one.labels, one.groups, confidence=confidence)
    return {
        "auroc": round(estimate.value, 4),
        "auroc_low": round(estimate.low, 4),
        "auroc_high": round(estimate.high, 4),
        "flops": float(np.mean(flops)),
        "n": len(one.ids),
        "positives": int(one.labels.sum()),
    }


def _means(rows: Sequence[Row]) -> list[Row]:
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        parts.setdefault((row["purpose"], *(row[key] for key in _ORIGIN)), []).append(row)
    means = [
        {"dataset": "mean", "purpose": part[0]["purpose"]} | {key: part[0][key] for key in _ORIGIN} | _mean(part)
        for part in parts.values()
    ]
    for purpose in dict.fromkeys(row["purpose"] for row in means):
        same = [row for row in means if row["purpose"] == purpose]
        front = pareto(np.array([row["flops"] for row in same]), np.array([row["auroc"] for row in same]))
        for row, on_front in zip(same, front, strict=True):
            row["pareto"] = bool(on_front)
    return means


def _mean(part: Sequence[Row]) -> Row:
    metrics = ("auroc", "auroc_low", "auroc_high", "n", "positives")
    found: Row = dict(mean_over_datasets([{key: row[key] for key in metrics} for row in part]))
    for key in ("flops", "flops_per_token", "sent_on"):
        if key in part[0]:
            found[key] = float(np.mean([row[key] for row in part]))
    return found


def _pair(found: Mapping[str, ScoreList], first: str, second: str, dataset: str) -> tuple[ScoreList, ScoreList]:
    one, two = (find_monitor(found, name, dataset, named_in=_NAMED) for name in (first, second))
    if one.ids != two.ids:
        raise UserError(
            f"{first} and {second} have scores of different records of {dataset}.", remedy="run `dvc repro` again."
        )
    return one, two


def _flops(scores: ScoreList) -> np.ndarray:
    if scores.flops is None:
        raise UserError(
            f"what {scores.probe} costs on {scores.dataset} is not known.", remedy="score it again with this version."
        )
    return scores.flops
