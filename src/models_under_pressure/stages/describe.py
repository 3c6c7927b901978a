"""Count the labels and lengths of every dataset file; draw labels, words and confounders of those in use."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from models_under_pressure.core.concept import Words, chosen_concept, words_of
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
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.figures import labels
from models_under_pressure.figures.render import write_chart

DRAWN = FIGURES / "datasets"
PLOTS = Path("plots")


def command() -> None:
    """Count the labels and lengths of every dataset file; draw labels, words and confounders of those in use.

    Example: mup describe
    """
    origins = read_json(ORIGINS)
    concept = chosen_concept()
    classes = concept.classes
    in_use = {
        one.name: (
            read_records(one.path, classes),
            read_records(Path(raw), classes) if (raw := origins[one.name]["raw"]) else [],
        )
        for one in datasets_in_use()
    }
    # Files of versions that are gone may lie about still, with the words of another concept.
    named = {*load_lineage().versions, "training", "deployment"}
    files = {
        name: made
        for name, parts in dataset_files(concept.deployment).items()
        if name in named and (made := {part: path for part, path in parts.items() if path.is_file()})
    }
    ordinary = [one.name for one in control_sets()]
    run(files, in_use=in_use, train=the_one("train").name, ordinary=ordinary, words=words_of(concept))


def run(
    files: Mapping[str, Mapping[str, Path]],
    *,
    in_use: Mapping[str, tuple[list[Record], list[Record]]],
    train: str,
    ordinary: Collection[str] = (),
    words: Words,
) -> None:
    """Write what git tracks of datasets to metrics/, all counts to data/results, and the figures.

    Args:
        files: dataset version -> part (such as `dev_raw`) -> file.
        in_use: dataset -> its records, and those that it was balanced from.
        train: the dataset in use whose words are compared.
        ordinary: control sets, which nobody has rated on the scale.
        words: what the concept calls its classes.
    """
    classes = words.classes
    found = {
        name: {part: distribution(read_records(path, classes)) for part, path in parts.items()}
        for name, parts in files.items()
    }
    write_json(RESULTS / "distribution.json", found)
    counts = {name: distribution(records) for name, (records, _) in in_use.items()}
    compared = {
        name: {key: one[key] for key in (classes.positive, classes.negative, "characters_mean")}
        for name, one in counts.items()
    }
    write_json(METRICS / "distribution.json", compared)
    rows = [
        row
        for name, parts in found.items()
        for part, one in parts.items()
        for row in chart_rows(name, one, part=part, classes=classes)
    ]
    write_chart(labels.counts_chart(rows, words), PLOTS / "label_counts.json")
    rated = {name: one for name, one in in_use.items() if name not in ordinary}
    stakes = [row for name, (records, raw) in rated.items() for row in stakes_rows(name, records, raw)]
    _draw("label_distribution", labels.stakes_chart(stakes, words), labels.stakes_finding(stakes, words))
    telling = telling_words(in_use[train][0])
    _draw("telling_words", labels.words_chart(telling, words, dataset=train), labels.words_finding(telling, words))
    summary = read_json(CONFOUNDERS)["summary"]
    _draw("confounders", labels.chart(summary), labels.finding(summary))
    if not summary:
        write_json(METRICS / "confounders.json", {})
        return
    left = dict(summary["after"])  # tracked: of the prompts that are left, what is not at chance by design
    tracked = {"pairs": left.pop("size")["pairs"]}
    tracked |= {name: one["auroc"] for name, one in left.items() if one["auroc_low"] < one["auroc_high"]}
    write_json(METRICS / "confounders.json", tracked)


def _draw(name: str, chart: Any, finding: str) -> None:
    write_chart(chart, DRAWN / f"{name}.json", finding=finding)
