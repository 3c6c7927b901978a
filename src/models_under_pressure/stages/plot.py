"""Draw the figures of the results, and their rows for `dvc plots diff`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from models_under_pressure.core.concept import PAPER, Words, chosen_concept, words_of
from models_under_pressure.core.paths import FIGURES, Dataset, Purpose, datasets_in_use, evaluated_path, scores_path
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import Section, read
from models_under_pressure.evaluation.measure import METHODS, read_evaluated
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.evaluation.scores import ScoreList, read_scores
from models_under_pressure.figures import ResultFigure, Results, declared
from models_under_pressure.figures.render import write_chart, write_rows

ROWS = Path("plots/rows")
DRAWN = FIGURES / "results"


class Plot(Section):
    """What the figures show."""

    purposes: tuple[Purpose, ...] = Field(min_length=1)
    """Purposes of the datasets shown."""
    closely: tuple[str, ...] | None = None
    """Methods whose scores are drawn record by record; None: all."""


def command() -> None:
    """Draw the figures of the results.

    Example: mup plot
    """
    config = read("plot", Plot)
    run(
        datasets_in_use(*config.purposes),
        files=[scores_path(method) for method in METHODS],
        probes=list(read("train", dict[str, Any])["probes"]),
        closely=config.closely,
        measured=read("evaluate", EvaluateConfig),
        words=words_of(chosen_concept()),
    )


def run(
    datasets: Sequence[Dataset],
    *,
    files: Sequence[Path],
    probes: Sequence[str],
    closely: Sequence[str] | None,
    measured: EvaluateConfig,
    words: Words = PAPER,
) -> None:
    """Draw every figure, and write its rows for `dvc plots diff`.

    Args:
        datasets: datasets to show.
        files: score files.
        probes: names that figures show first, in this order.
        closely: names whose records are drawn one by one; None: all.
        words: what the concept calls its classes.
        measured: how the metrics were made: the budget, and the bins of reliability and of length.
    """
    names = [dataset.name for dataset in datasets]
    lists = [scores for path in files for scores in read_scores(path) if scores.dataset in names]
    # The same order, and so the same colours, as in figures of metrics.
    places = {name: place for place, name in enumerate([*probes, *(scores.probe for scores in lists)][::-1])}
    shown = [scores for scores in lists if closely is None or scores.probe in closely]
    shown.sort(key=lambda scores: (names.index(scores.dataset), -places[scores.probe]))
    lengths, unit = _lengths(shown, {dataset.name: dataset.path for dataset in datasets})
    results = Results(
        words=words,
        metrics={name: read_evaluated(evaluated_path(name), probes)["metrics"] for name in names},
        purposes={dataset.name: dataset.purpose for dataset in datasets},
        scores=shown,
        lengths=lengths,
        length_unit=unit,
        budget=measured.fpr_budgets[0],
        bins=measured.bins,
        length_bins=measured.length_bins,
    )
    for name, figure in declared(ResultFigure).items():
        rows = figure.rows(results)
        write_rows(rows, ROWS / f"{name}.json")
        write_chart(figure.chart(rows, results), DRAWN / f"{name}.json", finding=figure.finding(rows, results))


def _lengths(shown: Sequence[ScoreList], records: Mapping[str, Path]) -> tuple[dict[str, dict[str, int]], str]:
    """Tokens that the first monitor shown reads of each record, and the unit; characters where it does not say."""
    tokens: dict[str, dict[str, int]] = {}
    for scores in shown:
        if scores.tokens is not None and scores.dataset not in tokens:
            tokens[scores.dataset] = dict(zip(scores.ids, scores.tokens.tolist(), strict=True))
    if tokens.keys() == records.keys():
        return tokens, "tokens"
    found = {
        name: {record.id: len(record.text) for record in read_records(path, None)} for name, path in records.items()
    }
    return found, "characters"
