"""Stage `report`: one page that holds the results and where they come from."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json, read_jsonl, write_text
from models_under_pressure.core.records import Record, read_records
from models_under_pressure.evaluation.scores import read_scores
from models_under_pressure.evaluation.summary import means_by_purpose
from models_under_pressure.report.content import DatasetVersion, Figure, Report, TokenMap
from models_under_pressure.report.errors import worst_errors
from models_under_pressure.report.page import render_page
from models_under_pressure.stages.commit import commit_of
from models_under_pressure.stages.evaluated import read_evaluated
from models_under_pressure.stages.paths import FIGURES, OVERLAPS, TOKEN_SCORES, probe_paths, scores_path

PAGE = Path("plots/report.html")
DEMO = "demo-authors"
"""Who labelled the demo corpus."""


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset in use."""

    path: Path
    purpose: str
    version: str


def run(
    *,
    datasets: Mapping[str, Source],
    methods: Mapping[str, Sequence[str]],
    figures: Sequence[str],
    errors: int,
    errors_of: Sequence[str] | None,
    probes: Sequence[str],
    params: Mapping[str, Any],
    seed: int,
) -> None:
    """Write plots/report.html.

    Args:
        datasets: dataset -> its file and what it is for.
        methods: dataset -> whose scores it has.
        figures: names of files in plots/figures, in order.
        errors: worst errors shown of each name and dataset.
        errors_of: names whose errors are shown; None: all.
        probes: the trained probes, of which the first says where activations come from.
        params: dotted key -> value, of params.yaml.
        seed: the first seed of the probes.

    Raises:
        UserError: a figure, a result or a probe is missing.
    """
    evaluated = {name: read_evaluated(name, probes) for name in datasets}
    metrics = {name: found["metrics"] for name, found in evaluated.items()}
    records = {name: read_records(source.path) for name, source in datasets.items()}
    origin = read_json(probe_paths(probes[0], seed, 1)[0] / "probe.json")["provenance"]
    scored = [
        scores
        for name in datasets
        if datasets[name].purpose != "train"
        for method in methods[name]
        for scores in read_scores(scores_path(name, method))
        if errors_of is None or scores.probe in errors_of
    ]
    by_id = {name: {record.id: record for record in found} for name, found in records.items()}
    report = Report(
        title="Models Under Pressure: high-stakes conversations",
        summary=_summary(origin, metrics, records),
        facts=_facts(origin, seed),
        metrics=metrics,
        groups={name: found["groups"] for name, found in evaluated.items() if datasets[name].purpose != "train"},
        means=means_by_purpose(metrics, {name: source.purpose for name, source in datasets.items()}),
        datasets=[_dataset(name, source, records[name]) for name, source in datasets.items()],
        figures=[_figure(name) for name in figures],
        errors=worst_errors(scored, by_id, most=errors),
        token_maps=[_token_map(row) for _, row in read_jsonl(TOKEN_SCORES)],
        provenance=_provenance(origin),
        params=params,
    )
    write_text(PAGE, render_page(report))


def _summary(
    origin: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    records: Mapping[str, Sequence[Record]],
) -> str:
    names = list(dict.fromkeys(name for found in metrics.values() for name in found))
    rows = sum(len(found) for found in records.values())
    told = (
        f"Scores of {', '.join(names)} on {len(metrics)} datasets ({rows:,} records). Probes read layer "
        f"{origin['layer']} of {origin['model']} and were trained on {len(records.get('train', ())):,} records."
    )
    if any(record.scale_label_model == DEMO for found in records.values() for record in found):
        told += (
            " Texts or labels were written by the project's authors: these figures show that the pipeline works, they "
            "are not results of the paper."
        )
    return told


def _facts(origin: Mapping[str, Any], seed: int) -> dict[str, str]:
    revision = origin.get("revision")
    return {
        "Model": str(origin["model"]) + (f" at {str(revision)[:12]}" if revision else ""),
        "Layer": f"{origin['layer']} ({origin['hook_point']})",
        "Seed": str(seed),
        "Commit": commit_of(),
    }


def _provenance(origin: Mapping[str, Any]) -> dict[str, str]:
    overlaps = read_json(OVERLAPS)
    pairs = sum(len(found["pairs"]) for found in overlaps.values())
    names = {
        "model": "Model",
        "revision": "Model revision",
        "quantization": "Quantisation",
        "compute_dtype": "Computed in",
        "hook_point": "Hook point",
        "max_tokens": "Tokens read of a record, at most",
        "template_hash": "Chat template, hash",
        "tokenizer": "Tokenizer, fingerprint",
        "dataset": "Training data, hash of its content",
    }
    return {
        "Last commit of code, graph and parameters": commit_of(),
        **{told: str(origin[name]) for name, told in names.items() if origin.get(name) is not None},
        "Overlap of splits": f"{pairs:,} pairs of records in {len(overlaps)} comparisons",
    }


def _dataset(name: str, source: Source, records: Sequence[Record]) -> DatasetVersion:
    labels = Counter(record.label.value if record.label else "not labelled" for record in records)
    labellers = Counter(record.scale_label_model or "not recorded" for record in records)
    return DatasetVersion(
        name=name,
        purpose=source.purpose,
        version=source.version,
        path=source.path.as_posix(),
        rows=len(records),
        labels=dict(sorted(labels.items())),
        labelled_by=", ".join(sorted(labellers)),
        content_hash=hashlib.md5(source.path.read_bytes(), usedforsecurity=False).hexdigest(),
    )


def _token_map(row: Mapping[str, Any]) -> TokenMap:
    lists = ("choices", "texts", "roles", "logits", "contributions", "seen")
    columns: dict[str, Any] = {name: tuple(value) if name in lists else value for name, value in row.items()}
    return TokenMap(id=columns.pop("ids"), **columns)


def _figure(name: str) -> Figure:
    path = FIGURES / f"{name}.json"
    specification = read_json(path)
    title = specification.get("title")
    title = title.get("text") if isinstance(title, dict) else title
    if not title:
        raise UserError("the figure has no title.", where=str(path), remedy="write it with figures.render.write_chart.")
    told = title if isinstance(title, str) else " ".join(title)
    return Figure(name, told, specification.get("description", ""), specification)
