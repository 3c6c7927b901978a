"""Stage `plot`: the figures, and their rows for `dvc plots diff`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from models_under_pressure.core.records import read_records
from models_under_pressure.evaluation.scores import ScoreList, read_scores
from models_under_pressure.figures.dvc_templates import write_rows
from models_under_pressure.figures.gallery import FIGURES, Results
from models_under_pressure.figures.render import write_chart
from models_under_pressure.stages.evaluated import read_evaluated
from models_under_pressure.stages.paths import FIGURES as FOLDER
from models_under_pressure.stages.paths import scores_path

ROWS = Path("plots/rows")


def run(
    *,
    datasets: Mapping[str, tuple[str, Path]],
    methods: Mapping[str, Sequence[str]],
    probes: Sequence[str],
    closely: Sequence[str] | None,
    budget: float,
    bins: int,
    length_bins: int,
) -> None:
    """Draw every figure.

    Args:
        datasets: dataset to show -> what it is for, and its records.
        methods: dataset -> whose scores it has.
        probes: names that figures show first, in this order.
        closely: names whose records are drawn one by one; None: all.
        budget: false positive rate that thresholds keep.
        bins: bins of reliability.
        length_bins: bins of length.
    """
    lists = [
        scores for name in datasets for method in methods[name] for scores in read_scores(scores_path(name, method))
    ]
    # The same order, and so the same colours, as in figures of metrics.
    places = {name: place for place, name in enumerate([*probes, *(scores.probe for scores in lists)][::-1])}
    shown = [scores for scores in lists if closely is None or scores.probe in closely]
    shown.sort(key=lambda scores: (list(datasets).index(scores.dataset), -places[scores.probe]))
    lengths, unit = _lengths(shown, {name: path for name, (_, path) in datasets.items()})
    results = Results(
        metrics={name: read_evaluated(name, probes)["metrics"] for name in datasets},
        purposes={name: purpose for name, (purpose, _) in datasets.items()},
        scores=shown,
        lengths=lengths,
        length_unit=unit,
        budget=budget,
        bins=bins,
        length_bins=length_bins,
    )
    for name, drawing in FIGURES.items():
        rows = drawing.rows(results)
        write_rows(rows, ROWS / f"{name}.json")
        write_chart(drawing.chart(rows, results), FOLDER / f"{name}.json", finding=drawing.finding(rows, results))


def _lengths(shown: Sequence[ScoreList], records: Mapping[str, Path]) -> tuple[dict[str, dict[str, int]], str]:
    """Tokens that the first monitor shown reads of each record, and the unit; characters where it does not say."""
    tokens: dict[str, dict[str, int]] = {}
    for scores in shown:
        if scores.tokens is not None and scores.dataset not in tokens:
            tokens[scores.dataset] = dict(zip(scores.ids, scores.tokens.tolist(), strict=True))
    if tokens.keys() == records.keys():
        return tokens, "tokens"
    found = {name: {record.id: len(record.text) for record in read_records(path)} for name, path in records.items()}
    return found, "characters"
