"""Count the labels and lengths of every dataset file; draw stakes, words and confounders of those in use."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import read_json, write_json
from models_under_pressure.core.paths import (
    CONFOUNDERS,
    FIGURES,
    METRICS,
    ORIGINS,
    RESULTS,
    control_sets,
    datasets_in_use,
    the_one,
)
from models_under_pressure.core.records import Record, read_records
from models_under_pressure.datasets.deployment import dataset_files
from models_under_pressure.datasets.distribution import chart_rows, distribution, stakes_rows, telling_words
from models_under_pressure.figures import labels
from models_under_pressure.figures.render import write_chart

DRAWN = FIGURES / "datasets"
PLOTS = Path("plots")

_COMPARED = ("high-stakes", "low-stakes", "characters_mean")
"""Figures of a dataset in use that git tracks."""


def command() -> None:
    """Count the labels and lengths of every dataset file; draw stakes, words and confounders of those in use.

    Example: mup describe
    """
    origins = read_json(ORIGINS)
    in_use = {
        one.name: (read_records(one.path), read_records(Path(raw)) if (raw := origins[one.name]["raw"]) else [])
        for one in datasets_in_use()
    }
    ordinary = [one.name for one in control_sets()]
    run(dataset_files(), in_use=in_use, train=the_one("train").name, ordinary=ordinary)


def run(
    files: Mapping[str, Mapping[str, Path]],
    *,
    in_use: Mapping[str, tuple[list[Record], list[Record]]],
    train: str,
    ordinary: Collection[str] = (),
) -> None:
    """Write what git tracks of datasets to metrics/, all counts to data/results, and the figures.

    Args:
        files: dataset version -> part (such as `dev_raw`) -> file.
        in_use: dataset -> its records, and those that it was balanced from.
        train: the dataset in use whose words are compared.
        ordinary: control sets, whose stakes nobody has rated.
    """
    found = {
        name: {part: distribution(read_records(path)) for part, path in parts.items()} for name, parts in files.items()
    }
    write_json(RESULTS / "distribution.json", found)
    counts = {name: distribution(records) for name, (records, _) in in_use.items()}
    compared = {name: {key: one[key] for key in _COMPARED} for name, one in counts.items()}
    write_json(METRICS / "distribution.json", compared)
    rows = [
        row for name, parts in found.items() for part, one in parts.items() for row in chart_rows(name, one, part=part)
    ]
    write_chart(labels.counts_chart(rows), PLOTS / "label_counts.json")
    rated = {name: one for name, one in in_use.items() if name not in ordinary}
    stakes = [row for name, (records, raw) in rated.items() for row in stakes_rows(name, records, raw)]
    _draw("label_distribution", labels.stakes_chart(stakes), labels.stakes_finding(stakes))
    words = telling_words(in_use[train][0])
    _draw("telling_words", labels.words_chart(words, dataset=train), labels.words_finding(words))
    summary = read_json(CONFOUNDERS)["summary"]
    _draw("confounders", labels.chart(summary), labels.finding(summary))
    left = dict(summary["after"])  # tracked: of the prompts that are left, what is not at chance by design
    tracked = {"pairs": left.pop("size")["pairs"]}
    tracked |= {name: one["auroc"] for name, one in left.items() if one["auroc_low"] < one["auroc_high"]}
    write_json(METRICS / "confounders.json", tracked)


def _draw(name: str, chart: Any, finding: str) -> None:
    write_chart(chart, DRAWN / f"{name}.json", finding=finding)
