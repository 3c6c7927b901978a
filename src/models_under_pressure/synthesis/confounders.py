"""What else than the concept tells high from low: length, words, and the way a prompt was varied.

For a set of labelled prompts each such predictor gets two figures, with intervals that resample whole situations:

- `auroc`: of the predictor over all prompts. 0.5 is chance; a figure far below it tells as much as one far above.
- `within_pairs`: the share of pairs whose positive prompt has the higher value, ties counted half. The prompts of
  a pair share all but their class, so that this shows cues which the differences between pairs hide.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from models_under_pressure.core.display import markdown_table
from models_under_pressure.core.records import Record
from models_under_pressure.evaluation.curves import two_classes
from models_under_pressure.evaluation.intervals import (
    Estimate,
    bootstrap_auroc,
    evidence,
    logit_interval,
    plan,
    replicate,
)
from models_under_pressure.synthesis.sampling import Factors, Variation
from models_under_pressure.synthesis.selection import cross_fitted_scores

ATTRIBUTES = (*(field.name for field in fields(Variation)), *(field.name for field in fields(Factors)), "variant")
"""Columns that the generator sets, and that should therefore tell nothing."""

STATES = ("before", "after")
_FIGURES = ("auroc", "within_pairs")
_FIRST = ("text_length", "tf_idf")
"""Predictors that the table has above the attributes."""
_FOLDS = 5
_RESAMPLES = 2000

Names = Sequence[str]
Labels = Bool[np.ndarray, "rows"]
Scores = Float[np.ndarray, "rows"]


def by_columns(columns: Sequence[str]) -> Callable[[Record], str]:
    """A name for the records that agree in these columns."""
    return lambda record: " ".join(str(record.fields.get(column)) for column in columns)


def measure(
    records: Sequence[Record],
    *,
    seed: int,
    pair: Callable[[Record], str] = lambda record: str(record.fields["pair_id"]),
    group: Callable[[Record], str] = lambda record: str(record.fields["situation_id"]),
) -> dict[str, Any]:
    """Measure every predictor.

    Args:
        records: labelled prompts, none ambiguous; their order changes nothing.
        seed: of folds and of the bootstrap.
        pair: names the prompts that differ in class only.
        group: names the prompts that are one piece of evidence; pairs do not straddle groups.

    Returns:
        JSON values, rounded to 4 places: `rows`, `pairs` (those of both classes) and `groups`; under `predictors`,
        `text_length` (characters) and `tf_idf` (cross-fitted; needs two groups) -> `auroc` and `within_pairs`; under
        `attributes`, attribute (if a row has it) -> value -> `n` rows that have it, and the `auroc` of having it.

    Raises:
        ValueError: a prompt is ambiguous or not labelled, or there is one class only.
    """
    ordered = sorted(records, key=lambda record: record.id)
    labels = two_classes(np.array([record.is_high for record in ordered]))
    names, groups = np.array([pair(record) for record in ordered]), [group(record) for record in ordered]
    texts = [record.text for record in ordered]
    scores = {"text_length": np.array([len(text) for text in texts], dtype=np.float64)}
    if len(set(groups)) > 1:
        scores["tf_idf"] = cross_fitted_scores(texts, labels, groups, features="tf_idf", folds=_FOLDS, seed=seed)
    whole = len(set(names[labels]) & set(names[~labels]))
    predictors: dict[str, dict[str, float]] = {}
    for name, score in scores.items():
        predictors[name] = bootstrap_auroc(score, labels, groups, seed=seed, resamples=_RESAMPLES).columns("auroc")
        if whole:
            predictors[name] |= _within_pairs(score, labels, names, groups, seed).columns("within_pairs")
    sizes = {"rows": len(ordered), "pairs": whole, "groups": len(set(groups))}
    return {**sizes, "predictors": predictors, "attributes": _by_value(ordered, labels, groups, seed)}


def report(before: Sequence[Record], after: Sequence[Record], *, seed: int) -> dict[str, Any]:
    """The confounders before and after filtering: all figures, and under `summary` the few that git tracks."""
    full = {"before": measure(before, seed=seed)}
    same = {record.id for record in before} == {record.id for record in after}
    full["after"] = full["before"] if same else measure(after, seed=seed)
    return {"summary": {state: summary(figures) for state, figures in full.items()}, **full}


def to_table(states: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table of summaries: a line for each predictor, two columns for each state (or file).

    Predictors that are at chance by construction, because the prompts of a pair share them, stand in one line.
    """
    told = {name for figures in states.values() for name in figures if name != "size"}
    names = sorted(told, key=lambda name: (name not in _FIRST, name))
    even = [name for name in names if all(_is_even(figures.get(name)) for figures in states.values())]
    heads = [f"{state}: {figure}" for state in states for figure in ("AUROC", "within pairs")]
    rows = (
        [name, *(_cell(found.get(name, {}), figure) for found in states.values() for figure in _FIGURES)]
        for name in names
        if name not in even
    )
    lines = [markdown_table(["predictor", *heads], rows)]
    size = "{rows:,} prompts, {pairs:,} pairs, {groups:,} situations"
    lines += [f"{state}: {size.format(**figures['size'])}" for state, figures in states.items()]
    if even:
        lines.append(f"exactly 0.5, for the prompts of a pair share them: {', '.join(even)}")
    return "\n".join(lines) + "\n"


def summary(figures: Mapping[str, Any]) -> dict[str, dict[str, float | int]]:
    """Of `measure`, each predictor, and of each attribute the value whose AUROC is farthest from chance."""
    sizes = {name: figures[name] for name in ("rows", "pairs", "groups")}
    farthest = {
        name: max(values.values(), key=lambda value: abs(value["auroc"] - 0.5))
        for name, values in figures["attributes"].items()
    }
    return {"size": sizes, **figures["predictors"], **farthest}


def _within_pairs(scores: Scores, labels: Labels, pairs: np.ndarray, groups: Names, seed: int) -> Estimate:
    """Share of the (high, low) couples of a pair that the scores rank right; a pair may have more than two rows."""
    right, couples = np.zeros(len(labels)), np.zeros(len(labels))
    _, number = np.unique(pairs, return_inverse=True)
    order = np.argsort(number, kind="stable")
    for members in np.split(order, np.cumsum(np.bincount(number))[:-1].tolist()):
        low = scores[members][~labels[members]]
        for row in members[labels[members]]:
            right[row] = (low < scores[row]).sum() + (low == scores[row]).sum() / 2
            couples[row] = len(low)

    def shares(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"share": (weights @ right) / (weights @ couples)}

    replicates = replicate(shares, plan(labels, groups), _RESAMPLES, np.random.default_rng(seed))["share"]
    counted = len(set(np.asarray(groups)[couples > 0]))
    return logit_interval(float(right.sum() / couples.sum()), float(replicates.std()), counted)


def _by_value(
    records: Sequence[Record], labels: Labels, groups: Names, seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """AUROC of having a value: 0.5 + (share of high rows that have it - share of low rows that have it) / 2."""
    columns = {
        (name, value): np.array([_value(record, name) == value for record in records])
        for name in ATTRIBUTES
        for value in sorted({_value(record, name) for record in records})
        if any(name in record.fields for record in records)
    }
    if not columns:
        return {}
    has = np.stack(list(columns.values()), axis=1).astype(np.float64)
    high, low = has * labels[:, None], has * ~labels[:, None]

    def aurocs(weights: np.ndarray) -> Float[np.ndarray, "resamples values"]:
        real = weights.astype(np.float64)
        sizes = (real @ labels)[:, None], (real @ ~labels)[:, None]
        return 0.5 + (real @ high / sizes[0] - real @ low / sizes[1]) / 2

    point = aurocs(np.ones((1, len(labels))))[0]
    drawn = replicate(
        lambda weights: {"auroc": aurocs(weights)}, plan(labels, groups), _RESAMPLES, np.random.default_rng(seed)
    )["auroc"]
    rarer = min(evidence(labels, groups))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for index, ((name, value), column) in enumerate(columns.items()):
        estimate = logit_interval(float(point[index]), float(drawn[:, index].std()), rarer)
        found.setdefault(name, {})[value] = {"n": int(column.sum())} | estimate.columns("auroc")
    return found


def _value(record: Record, name: str) -> str:
    return str(record.fields.get(name, "none"))


def _is_even(figures: Mapping[str, float] | None) -> bool:
    return figures is None or figures["auroc_low"] == figures["auroc_high"] == 0.5


def _cell(figures: Mapping[str, float], name: str) -> str:
    if name not in figures:
        return ""
    return f"{figures[name]:.3f} [{figures[f'{name}_low']:.3f}, {figures[f'{name}_high']:.3f}]"
