"""Write one page that holds the results and where they come from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from models_under_pressure.core.files import read_json, read_jsonl, write_text
from models_under_pressure.core.layers import layers_text
from models_under_pressure.core.paths import (
    CARDS,
    ORIGINS,
    OVERLAPS,
    TOKEN_SCORES,
    Dataset,
    datasets_in_use,
    evaluated_path,
    probe_paths,
    scores_path,
)
from models_under_pressure.core.records import Record, read_records
from models_under_pressure.core.section import PARAMS, Section, dotted, load_plain, read
from models_under_pressure.evaluation.measure import METHODS, read_evaluated
from models_under_pressure.evaluation.report import means_by_purpose
from models_under_pressure.evaluation.scores import read_scores
from models_under_pressure.report.card import card_markdown, card_of
from models_under_pressure.report.content import (
    Report,
    TokenMap,
    WorstError,
    commit_of,
    dataset_version,
    find_figure,
    model_facts,
    notice,
    provenance,
    worst_errors,
)
from models_under_pressure.report.page import render_page

PAGE = Path("plots/report.html")


class ReportParams(Section):
    """What the report page shows."""

    figures: tuple[str, ...]
    """Names of figures, in order."""
    errors: int = Field(3, ge=0)
    """Worst errors of each method and dataset."""
    errors_of: tuple[str, ...] | None = None
    """Methods whose errors are shown; None: all."""
    licence: str = "not stated"
    """Licence of the probes, for their cards."""


def command() -> None:
    """Write plots/report.html, a page with all results that needs no network, and a card for each probe.

    Example: mup report
    """
    run(
        datasets_in_use(),
        config=read("report", ReportParams),
        probes=list(read("train", dict[str, Any])["probes"]),
        params=dotted(load_plain(PARAMS)),
        seed=read("seed", int),
    )


def run(
    datasets: Sequence[Dataset], *, config: ReportParams, probes: Sequence[str], params: Mapping[str, Any], seed: int
) -> None:
    """Write plots/report.html, and data/results/cards/<probe>.md.

    Args:
        datasets: the datasets in use.
        config: figures and errors to show.
        probes: the trained probes, of which the first says where activations come from.
        params: dotted key -> value, of params.yaml.
        seed: the first seed of the probes.

    Raises:
        UserError: a figure, a result or a probe is missing.
    """
    purposes = {one.name: one.purpose for one in datasets}
    evaluated = {name: read_evaluated(evaluated_path(name), probes) for name in purposes}
    metrics = {name: found["metrics"] for name, found in evaluated.items()}
    records = {one.name: read_records(one.path) for one in datasets}
    origins, commit = read_json(ORIGINS), commit_of()
    folders = {name: probe_paths(name, seed, 1)[0] for name in probes}
    descriptions = {name: read_json(folder / "probe.json") for name, folder in folders.items()}
    origin = descriptions[probes[0]]["provenance"]
    means = means_by_purpose(metrics, purposes)
    cards = [card_of(name, one, metrics, means, purposes, licence=config.licence) for name, one in descriptions.items()]
    shown = {name: rows for name, rows in records.items() if purposes[name] != "train"}
    report = Report(
        title="Models Under Pressure: high-stakes conversations",
        summary=_summary(origin, metrics, records),
        facts=model_facts(origin, seed, commit),
        metrics=metrics,
        groups={name: evaluated[name]["groups"] for name in shown},
        means=means,
        datasets=[dataset_version(one, origins[one.name]["version"] or "-", records[one.name]) for one in datasets],
        figures=[find_figure(name) for name in config.figures],
        errors=_errors(config, shown),
        token_maps=[_token_map(row) for _, row in read_jsonl(TOKEN_SCORES)],
        cards=cards,
        provenance=provenance(origin, commit) | _overlaps(),
        params=params,
    )
    for card in cards:
        readme = (folders[card.name] / "README.md").read_text("utf-8")
        write_text(CARDS / f"{card.name}.md", card_markdown(card, readme))
    write_text(PAGE, render_page(report))


def _summary(
    origin: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    records: Mapping[str, Sequence[Record]],
) -> str:
    names = list(dict.fromkeys(name for found in metrics.values() for name in found))
    rows = sum(len(found) for found in records.values())
    return (
        f"Scores of {', '.join(names)} on {len(metrics)} datasets ({rows:,} records). Probes read "
        f"{layers_text(origin)} of {origin['model']} and were trained on {len(records.get('train', ())):,} records."
    ) + notice(record for found in records.values() for record in found)


def _errors(config: ReportParams, records: Mapping[str, Sequence[Record]]) -> list[WorstError]:
    scored = [
        scores
        for method in METHODS
        for scores in read_scores(scores_path(method))
        if scores.dataset in records and (config.errors_of is None or scores.probe in config.errors_of)
    ]
    by_id = {name: {record.id: record for record in rows} for name, rows in records.items()}
    return worst_errors(scored, by_id, most=config.errors)


def _overlaps() -> dict[str, str]:
    overlaps = read_json(OVERLAPS)["compared"]
    pairs = sum(len(found["pairs"]) for found in overlaps.values())
    return {"Overlap of splits": f"{pairs:,} pairs of records in {len(overlaps)} comparisons"}


def _token_map(row: Mapping[str, Any]) -> TokenMap:
    lists = ("choices", "texts", "roles", "logits", "contributions", "seen")
    columns: dict[str, Any] = {name: tuple(value) if name in lists else value for name, value in row.items()}
    return TokenMap(id=columns.pop("ids"), **columns)
