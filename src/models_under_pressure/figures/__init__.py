"""Figures: a module declares the rows, chart, finding and DVC template of one, or of twins that share their drawing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, TypeVar

from models_under_pressure.core.concept import PAPER, Words

if TYPE_CHECKING:  # figures of datasets are drawn without the room that scores come from
    from models_under_pressure.evaluation.scores import ScoreList

Row = Mapping[str, Any]
"""Data of one mark, as plain JSON values."""
Rows = list[dict[str, Any]]
"""Data of the marks of a figure, as they are written."""
NOTHING = "No dataset here holds both classes."
"""Finding of a figure that has no rows."""


@dataclass(frozen=True, eq=False)
class Results:
    """What the figures of scores are drawn from."""

    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Dataset -> name -> metric with interval ends."""
    purposes: Mapping[str, str]
    """Dataset -> its purpose; figures show the datasets in this order."""
    scores: Sequence["ScoreList"]
    """Scores of the names and datasets that are shown record by record."""
    lengths: Mapping[str, Mapping[str, int]]
    """Dataset -> record id -> length."""
    length_unit: str = "characters"
    """Unit of the lengths."""
    budget: float = 0.01
    """False positive rate that thresholds keep."""
    bins: int = 10
    """Bins of the reliability diagram."""
    length_bins: int = 4
    """Bins of the lengths."""
    words: Words = PAPER
    """What the concept calls its classes."""

    @property
    def percent(self) -> str:
        """The budget as readers write it: 0.01 -> `1 %`."""
        return f"{100 * self.budget:g} %"

    def ranked(self) -> Iterator[tuple["ScoreList", dict[str, Any]]]:
        """The score lists that hold both classes, the first seed of each probe, and what every row says of them."""
        seen: set[tuple[str, str]] = set()
        for scores in self.scores:
            key = (scores.dataset, scores.probe)
            if key not in seen and scores.labels.any() and not scores.labels.all():
                seen.add(key)
                counts = {"n": len(scores.ids), "positives": int(scores.labels.sum())}
                yield scores, {"dataset": scores.dataset, "probe": scores.probe} | counts


@dataclass(frozen=True)
class ResultFigure:
    """How a figure of the scores is made."""

    rows: Callable[[Results], Rows]
    """Rows of the figure, which DVC compares between revisions."""
    chart: Callable[[Sequence[Row], Results], Any]
    """Chart of the rows."""
    finding: Callable[[Sequence[Row], Results], str]
    """Finding in words, for readers who cannot see the chart."""
    template: Callable[[], Any]
    """Chart with which `dvc plots diff` overlays the rows of two revisions."""


@dataclass(frozen=True)
class ExperimentFigure:
    """How a figure of an experiment is made."""

    results: str
    """File below data/experiments, or folder of files."""
    chart: Callable[..., Any]
    """Chart of what the file holds."""
    finding: Callable[..., str]
    """Finding in words, for readers who cannot see the chart."""
    summary: Callable[[Any], dict[str, Any]] | None = None
    """Part of metrics/experiments.json: the few numbers that people compare, the same on every processor."""
    worded: bool = False
    """Whether the chart says the words of the concept, which it takes as `words`; the finding then takes them too."""


Kind = TypeVar("Kind", ResultFigure, ExperimentFigure)


def declared(kind: type[Kind]) -> dict[str, Kind]:
    """Name of the figure and of its files -> figure, of every module here; a new figure is a new module."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    figures = [pair for module in modules for pair in getattr(module, "FIGURES", {}).items()]
    return {name: figure for name, figure in figures if isinstance(figure, kind)}
