"""A cheap monitor first, an expensive one for the records that are hardest for it.

Cascades are made of the scores of any two monitors; a plan keeps a budget of FLOPs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated

import numpy as np
import typer
from pydantic import Field

from models_under_pressure.core.display import text_table
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, datasets_in_use
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.evaluation import cascade
from models_under_pressure.evaluation.cascade import Band, Merge, Selection
from models_under_pressure.evaluation.differences import delong
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.experiments.shared.monitors import Scores, find_monitor, read_monitors
from models_under_pressure.experiments.shared.rows import Row, means

_NAMED = "cascade.pairs"
_ORIGIN = ("kind", "first", "second", "selection", "merge", "share")

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


class Pair(Section):
    """Two monitors, by the names in their score files."""

    first: str
    """Monitor that scores every record."""
    second: str
    """Monitor that scores the records sent on."""


class Cascade(Section):
    """Which monitors are put one behind the other, and for which records."""

    pairs: dict[str, Pair] = Field(min_length=1)
    """Label of the pair -> its monitors."""
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(min_length=1)
    """Shares of the records that the second monitor sees."""
    selections: tuple[Selection, ...] = Field(min_length=1)
    """Ways to select these records."""
    merge: Merge
    """How two probabilities become one."""


@dataclass(frozen=True)
class CascadePlan:
    """A cascade that keeps a budget, chosen on dev sets."""

    first: str
    second: str
    selection: Selection
    merge: Merge
    share: float
    """Share of the dev records, pooled, that is sent on."""
    band: Band | None
    """Probabilities of the first monitor that send a record on."""
    dev: Row
    """Mean over the dev sets with these thresholds."""
    test: Row
    """The same over the test sets, which had no part in the choice."""
    by_dataset: Sequence[Row]


@app.callback(invoke_without_command=True)
def command(context: typer.Context) -> None:
    """A cheap monitor first, an expensive one for the records that are hardest for it.

    Example: mup cascade
    """
    if context.invoked_subcommand:
        return
    config, scores, purposes, confidence = _read()
    rows = run(config, scores, purposes, seed=read("seed", int), confidence=confidence)
    write_jsonl(EXPERIMENT_RESULTS / "cascade.jsonl", rows)


@app.command("plan")
def plan_command(
    budget: Annotated[float, typer.Option(min=0, help="FLOPs of a record, on average, beyond the monitored model's.")],
) -> None:
    """Choose selection, share and thresholds on the dev sets within a budget, and measure them on the test sets.

    Example: mup cascade plan --budget 1e9
    """
    config, scores, purposes, confidence = _read()
    print(to_text(plan(config, scores, purposes, budget=budget, confidence=confidence), budget), end="")


def _read() -> tuple[Cascade, Scores, Mapping[str, str], float]:
    purposes = {one.name: one.purpose for one in datasets_in_use("dev", "test")}
    config, confidence = read("cascade", Cascade, EXPERIMENTS), read("evaluate", EvaluateConfig).confidence
    return config, read_monitors(list(purposes)), purposes, confidence


def run(
    config: Cascade, scores: Scores, purposes: Mapping[str, str], *, seed: int, confidence: float = 0.95
) -> list[Row]:
    """Every monitor alone, and every cascade of two.

    Returns:
        `evaluation.rows.CascadeRow`s of every dataset (intervals: DeLong, grouped), then of the means over the datasets
        of a purpose.

    Raises:
        UserError: a monitor has no scores of a dataset, or its costs are not known; or two have scores of different
            records.
    """
    rows: list[Row] = []
    names = dict.fromkeys(name for pair in config.pairs.values() for name in (pair.first, pair.second))
    for dataset, found in scores.items():
        shown = {"dataset": dataset, "purpose": purposes[dataset]}
        rows += [shown | _alone(found, name, dataset, confidence) for name in names]
        for pair, selection, share in product(config.pairs.values(), config.selections, config.shares):
            one, two = _pair(found, pair, dataset)
            chosen = cascade.select(one.probabilities, share, selection, seed=seed)
            origin = ("cascade", pair.first, pair.second, selection, config.merge, share)
            measured = _measured(one, two, chosen, config.merge, confidence)
            rows.append(shown | dict(zip(_ORIGIN, origin, strict=True)) | measured)
    return [*rows, *_means(rows)]


def _alone(found: Mapping[str, ScoreList], name: str, dataset: str, confidence: float) -> Row:
    one = find_monitor(found, name, dataset, named_in=_NAMED)
    nobody = np.zeros(len(one.ids), dtype=bool)
    row = dict.fromkeys(_ORIGIN) | {"kind": "alone", "first": name} | _measured(one, one, nobody, "mean", confidence)
    return row if one.tokens is None else row | {"flops_per_token": float(_flops(one).sum() / one.tokens.sum())}


def plan(
    config: Cascade, scores: Scores, purposes: Mapping[str, str], *, budget: float, confidence: float = 0.95
) -> CascadePlan:
    """The cascade with the best mean AUROC on the dev sets among those that keep the budget there.

    Thresholds are those that send a share of the pooled dev records on; a share of 0 is the first monitor alone, and is
    among the candidates. Selection `random`, which has no thresholds, is left out. The test sets only see the
    thresholds. The budget is in FLOPs of a record, on average, beyond what the monitored model computes anyway.

    Raises:
        UserError: nothing keeps the budget; or see `run`.
    """
    candidates = product(config.pairs.values(), config.selections, dict.fromkeys([0.0, *config.shares]))
    every = [
        _planned(scores, purposes, pair, selection, share, config.merge, confidence)
        for pair, selection, share in candidates
        if selection != "random"
    ]
    kept = [made for made in every if made.dev["flops"] <= budget]
    if not kept:
        cheapest = min((made.dev["flops"] for made in every), default=float("inf"))
        raise UserError(
            f"no cascade keeps {budget:.3g} FLOPs a record; the cheapest needs {cheapest:.3g}.",
            remedy="allow more, or name a cheaper first monitor in cascade.pairs.",
        )
    return max(kept, key=lambda made: (made.dev["auroc"], -made.dev["flops"]))


def to_text(made: CascadePlan, budget: float) -> str:
    """The plan in words, and a table of what it does on each dataset."""
    if made.band is None:
        rule = f"{made.first} alone"
    else:
        rule = (
            f"{made.first}; where its probability is from {made.band.low:.4f} to {made.band.high:.4f} also "
            f"{made.second}, merged by {made.merge} (selection {made.selection}, {made.share:.0%} of the dev records)"
        )
    means = {"mean of dev (chosen on)": made.dev, "mean of test": made.test}
    formats = ("{auroc:.3f}", "[{auroc_low:.3f}, {auroc_high:.3f}]", "{sent_on:.0%}", "{flops:.3g}", "{n:,}")
    cells = (
        (name, *(shown.format(**row) for shown in formats))
        for name, row in [*((row["dataset"], row) for row in made.by_dataset), *means.items()]
    )
    table = text_table(("", ">AUROC", "[95 % interval]", ">sent on", ">FLOPs/record", ">n"), cells)
    return f"Budget {budget:.3g} FLOPs a record. Plan: {rule}.\n\n{table}"


def _planned(
    scores: Scores,
    purposes: Mapping[str, str],
    pair: Pair,
    selection: Selection,
    share: float,
    how: Merge,
    confidence: float,
) -> CascadePlan:
    pairs = {dataset: _pair(found, pair, dataset) for dataset, found in scores.items()}
    pooled = np.concatenate([one.probabilities for dataset, (one, _) in pairs.items() if purposes[dataset] == "dev"])
    band = cascade.band_of(pooled, share, selection)
    rows: list[Row] = []
    for dataset, (one, two) in pairs.items():
        chosen = cascade.inside(one.probabilities, band)
        row = _measured(one, two, chosen, how, confidence)
        rows.append({"dataset": dataset, "purpose": purposes[dataset], "sent_on": float(chosen.mean())} | row)
    dev, test = (means([row for row in rows if row["purpose"] == purpose], by=())[0] for purpose in ("dev", "test"))
    return CascadePlan(pair.first, pair.second, selection, how, share, band, dev, test, rows)


def _measured(one: ScoreList, two: ScoreList, chosen: np.ndarray, how: Merge, confidence: float) -> Row:
    """AUROC and mean cost where the chosen records also see the second monitor."""
    probabilities = cascade.merge(one.probabilities, two.probabilities, chosen, how)
    estimate = delong(probabilities, one.labels, one.groups, confidence=confidence)
    flops = float(np.mean(cascade.cost(_flops(one), _flops(two), chosen)))
    return {**estimate.columns("auroc"), "flops": flops, "n": len(one.ids), "positives": int(one.labels.sum())}


def _means(rows: Sequence[Row]) -> list[Row]:
    averaged = means(rows, by=("purpose", *_ORIGIN))
    for purpose in dict.fromkeys(row["purpose"] for row in averaged):
        same = [row for row in averaged if row["purpose"] == purpose]
        front = cascade.pareto(np.array([row["flops"] for row in same]), np.array([row["auroc"] for row in same]))
        for row, on_front in zip(same, front.tolist(), strict=True):
            row["pareto"] = on_front
    return averaged


def _pair(found: Mapping[str, ScoreList], pair: Pair, dataset: str) -> tuple[ScoreList, ScoreList]:
    one, two = (find_monitor(found, name, dataset, named_in=_NAMED) for name in (pair.first, pair.second))
    if one.ids != two.ids:
        raise UserError(
            f"{pair.first} and {pair.second} have scores of different records of {dataset}.",
            remedy="run `dvc repro` again.",
        )
    return one, two


def _flops(scores: ScoreList) -> np.ndarray:
    if scores.flops is None:
        raise UserError(
            f"what {scores.probe} costs on {scores.dataset} is not known.", remedy="score it again with this version."
        )
    return scores.flops
