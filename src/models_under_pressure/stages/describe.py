"""Stage `describe`: label counts and lengths of every dataset file; stakes, words and confounders of those in use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import read_json, write_json
from models_under_pressure.core.records import read_records
from models_under_pressure.datasets.distribution import chart_rows, distribution, stakes_rows
from models_under_pressure.datasets.word_statistics import telling_words
from models_under_pressure.figures import confounders, label_counts, label_distribution
from models_under_pressure.figures import telling_words as words_figure
from models_under_pressure.figures.render import write_chart
from models_under_pressure.stages.paths import CONFOUNDERS, FIGURES

METRICS = Path("metrics")
PLOTS = Path("plots")


def run(files: Mapping[str, Mapping[str, Path]], *, in_use: Mapping[str, tuple[Path, Path | None]], train: str) -> None:
    """Write metrics/distribution.json, plots/label_counts.json, and three figures to plots/figures.

    Args:
        files: dataset version -> part (such as `dev_raw`) -> file.
        in_use: dataset -> its file, and the raw file that it was balanced from, if there is one.
        train: the dataset in use whose words are compared.
    """
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    rows: list[dict[str, Any]] = []
    for dataset, parts in files.items():
        metrics[dataset] = {part: distribution(read_records(path)) for part, path in parts.items()}
        for part, found in metrics[dataset].items():
            rows += chart_rows(dataset, found, part=part)
    write_json(METRICS / "distribution.json", metrics)
    write_chart(label_counts.chart(rows), PLOTS / "label_counts.json")
    stakes = [
        row
        for name, (path, raw) in in_use.items()
        for row in stakes_rows(name, read_records(path), read_records(raw) if raw else ())
    ]
    _draw("label_distribution", label_distribution.chart(stakes), label_distribution.finding(stakes))
    words = telling_words(read_records(in_use[train][0]))
    _draw("telling_words", words_figure.chart(words, dataset=train), words_figure.finding(words))
    summary = read_json(CONFOUNDERS)["summary"]
    _draw("confounders", confounders.chart(summary), confounders.finding(summary))


def _draw(name: str, chart: Any, finding: str) -> None:
    write_chart(chart, FIGURES / f"{name}.json", finding=finding)
