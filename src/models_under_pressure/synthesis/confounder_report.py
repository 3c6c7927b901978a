"""The confounders before and after filtering, as JSON and as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from models_under_pressure.core.records import Record
from models_under_pressure.evaluation.intervals import Estimate
from models_under_pressure.synthesis.confounders import Confounders, measure

STATES = ("before", "after")
_FIGURES = ("auroc", "within_pairs")
_FIRST = ("text_length", "tf_idf")
"""Predictors that the table has above the attributes."""


def report(before: Sequence[Record], after: Sequence[Record], *, seed: int) -> dict[str, Any]:
    """The confounders before and after filtering: all figures, and under `summary` the few that git tracks."""
    full = {"before": to_json(measure(before, seed=seed))}
    same = {record.id for record in before} == {record.id for record in after}
    full["after"] = full["before"] if same else to_json(measure(after, seed=seed))
    return {"summary": {state: summary(figures) for state, figures in full.items()}, **full}


def to_table(states: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table of summaries: a line for each predictor, two columns for each state (or file).

    Predictors that are at chance by construction, because the prompts of a pair share them, stand in one line.
    """
    names = sorted({name for figures in states.values() for name in figures if name != "size"}, key=_place)
    even = [name for name in names if all(_is_even(figures.get(name)) for figures in states.values())]
    heads = [f"{state}: {figure}" for state in states for figure in ("AUROC", "within pairs")]
    lines = [f"| predictor | {' | '.join(heads)} |", f"|---{'|---' * len(heads)}|"]
    for name in names:
        if name not in even:
            figures = [(found.get(name, {}), figure) for found in states.values() for figure in _FIGURES]
            lines.append(f"| {name} | {' | '.join(_cell(*figure) for figure in figures)} |")
    lines += ["", *(_size(state, figures["size"]) for state, figures in states.items())]
    if even:
        lines.append(f"exactly 0.5, for the prompts of a pair share them: {', '.join(even)}")
    return "\n".join(lines) + "\n"


def to_json(confounders: Confounders) -> dict[str, Any]:
    """All figures, rounded to 4 places."""
    return {
        "rows": confounders.rows,
        "pairs": confounders.pairs,
        "groups": confounders.groups,
        "predictors": {
            name: {key: value for figure, estimate in estimates.items() for key, value in _flat(figure, estimate)}
            for name, estimates in confounders.predictors.items()
        },
        "attributes": {
            name: {value: {"n": rows, **dict(_flat("auroc", estimate))} for value, (rows, estimate) in values.items()}
            for name, values in confounders.attributes.items()
        },
    }


def summary(figures: Mapping[str, Any]) -> dict[str, dict[str, float | int]]:
    """Of `to_json`, each predictor, and of each attribute the value whose AUROC is farthest from chance."""
    sizes = {name: figures[name] for name in ("rows", "pairs", "groups")}
    farthest = {
        name: max(values.values(), key=lambda value: abs(value["auroc"] - 0.5))
        for name, values in figures["attributes"].items()
    }
    return {"size": sizes, **figures["predictors"], **farthest}


def _place(name: str) -> tuple[bool, str]:
    return name not in _FIRST, name


def _is_even(figures: Mapping[str, float] | None) -> bool:
    return figures is None or figures["auroc_low"] == figures["auroc_high"] == 0.5


def _size(state: str, size: Mapping[str, int]) -> str:
    return f"{state}: {size['rows']:,} prompts, {size['pairs']:,} pairs, {size['groups']:,} situations"


def _cell(figures: Mapping[str, float], name: str) -> str:
    if name not in figures:
        return ""
    return f"{figures[name]:.3f} [{figures[f'{name}_low']:.3f}, {figures[f'{name}_high']:.3f}]"


def _flat(name: str, estimate: Estimate) -> list[tuple[str, float]]:
    ends = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return [(key, round(value, 4)) for key, value in ends.items()]
