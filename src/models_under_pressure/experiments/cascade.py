"""A cheap monitor first, an expensive one for the records that are hardest for it.

Cascades are made of the scores of any two monitors. A plan is one to switch on: it starts from the stored threshold of
a probe, keeps a budget, and says what it flags.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated

import numpy as np
import typer
from pydantic import Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, datasets_in_use, probe_paths
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.evaluation import cascade
from models_under_pressure.evaluation.cascade import Merge, Selection
from models_under_pressure.evaluation.differences import delong
from models_under_pressure.evaluation.policy import Evidence
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.experiments.shared.monitors import Scores, find_monitor, read_monitors
from models_under_pressure.experiments.shared.planning import plan, saved_threshold, to_text
from models_under_pressure.experiments.shared.rows import Row, means

_NAMED = "cascade.pairs, or on the command line"
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
    judge: Annotated[str, typer.Option(help="Monitor that reads what the first sends on, such as asked_gpt4o.")],
    budget: Annotated[float, typer.Option(min=0, help="For 1,000 conversations: FLOPs; with --price, its currency.")],
    price: Annotated[
        float | None, typer.Option(min=0, help="Of 1,000 conversations read by the judge; the first monitor is free.")
    ] = None,
    first: Annotated[
        list[str] | None, typer.Option(help="Probe to start with; the best of those in cascade.pairs if none.")
    ] = None,
    fpr: Annotated[float, typer.Option(help="False positive rate whose stored threshold the plan starts from.")] = 0.01,
) -> None:
    """Choose which conversations a judge reads beside a probe, within a budget; FPR, TPR and cost on the test sets.

    Example: mup cascade plan --judge prompted_smollm2 --budget 2e13
    """
    config, scores, purposes, _ = _read()
    seed, evaluate = read("seed", int), read("evaluate", EvaluateConfig)
    named = first or dict.fromkeys(pair.first for pair in config.pairs.values())
    files = {name: probe_paths(name, seed, 1)[0] / "probe.json" for name in named}
    thresholds = {name: saved_threshold(name, file, fpr) for name, file in files.items() if first or file.exists()}
    if not thresholds:
        problem = "no first monitor of cascade.pairs is a trained probe with a stored threshold."
        raise UserError(problem, remedy="train the probes with `dvc repro train`, or name one with --first.")
    found = {name: _evidence(scores, purposes, name, judge, price) for name in thresholds}
    made = plan(judge, found, thresholds, budget=budget, evaluate=evaluate, seed=seed)
    print(to_text(made, budget, unit="FLOPs" if price is None else "in the price's currency"), end="")


def _read() -> tuple[Cascade, Scores, Mapping[str, str], float]:
    purposes = {one.name: one.purpose for one in datasets_in_use("dev", "test")}
    config, confidence = read("cascade", Cascade, EXPERIMENTS), read("evaluate", EvaluateConfig).confidence
    return config, read_monitors(list(purposes)), purposes, confidence


def _evidence(
    scores: Scores, purposes: Mapping[str, str], first: str, second: str, price: float | None
) -> dict[str, Evidence]:
    """Purpose -> scores and costs of both monitors on all its datasets together."""
    found: dict[str, Evidence] = {}
    for purpose in dict.fromkeys(purposes.values()):
        pairs = {
            name: _pair(scores[name], Pair(first=first, second=second), name)
            for name, own in purposes.items()
            if own == purpose
        }
        one, two = (list(side) for side in zip(*pairs.values(), strict=True))
        records = sum(len(part.ids) for part in one)
        if price is None:
            cost, judging = (np.concatenate([_flops(part) for part in side]).astype(np.float64) for side in (one, two))
        else:
            cost, judging = np.zeros(records), np.full(records, price / 1000)
        found[purpose] = Evidence(
            np.concatenate([part.logits for part in one]),
            np.concatenate([part.logits for part in two]),
            cost,
            judging,
            np.concatenate([part.labels for part in one]),
            [f"{part.dataset}/{group}" for part in one for group in part.groups],
        )
    return found


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
