"""Stage `cascade`: a cheap monitor first, an expensive one for the records that are hardest for it."""

from collections.abc import Mapping, Sequence

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.evaluation.cascade import Merge, Selection
from models_under_pressure.evaluation.scores import read_scores
from models_under_pressure.experiments.cascade import Plan, cascade, plan
from models_under_pressure.experiments.monitors import Scores, first_seeds
from models_under_pressure.stages.paths import RESULTS, scores_path


def run(
    *,
    datasets: Mapping[str, str],
    methods: Mapping[str, Sequence[str]],
    pairs: Sequence[tuple[str, str]],
    shares: Sequence[float],
    selections: Sequence[Selection],
    merge: Merge,
    seed: int,
    confidence: float,
) -> None:
    """Write a row of results per dataset and monitor, and per dataset and cascade.

    Args:
        datasets: dataset -> what it is for.
        methods: dataset -> whose score files it has.
        pairs: (first, second) monitors.
        shares: of the records, that the second monitor sees.
        selections: which records these are.
        merge: how two probabilities become one.
        seed: of the random selection.
        confidence: coverage of the intervals.
    """
    rows = cascade(
        _read(methods),
        datasets,
        pairs,
        shares=shares,
        selections=selections,
        how=merge,
        seed=seed,
        confidence=confidence,
    )
    write_jsonl(RESULTS / "cascade.jsonl", rows)


def make_plan(
    *,
    datasets: Mapping[str, str],
    methods: Mapping[str, Sequence[str]],
    pairs: Sequence[tuple[str, str]],
    budget: float,
    shares: Sequence[float],
    selections: Sequence[Selection],
    merge: Merge,
    confidence: float,
) -> Plan:
    """Choose a cascade on the dev sets, and measure it on the test sets; see `experiments.cascade.plan`."""
    return plan(
        _read(methods),
        datasets,
        pairs,
        budget=budget,
        shares=shares,
        selections=selections,
        how=merge,
        confidence=confidence,
    )


def _read(methods: Mapping[str, Sequence[str]]) -> Scores:
    return first_seeds(
        [scores for name, files in methods.items() for file in files for scores in read_scores(scores_path(name, file))]
    )
