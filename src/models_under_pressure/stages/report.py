"""Write one page that holds the results and where they come from."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from models_under_pressure.core.files import read_json, read_jsonl, write_text
from models_under_pressure.core.in_use import ORIGINS, Dataset, datasets_in_use
from models_under_pressure.core.paths import OVERLAPS, TOKEN_SCORES, evaluated_path, probe_paths, scores_path
from models_under_pressure.core.records import Record, read_records
from models_under_pressure.core.section import PARAMS, Section, read
from models_under_pressure.core.yaml import dotted, load_plain
from models_under_pressure.evaluation.evaluated import METHODS, read_evaluated
from models_under_pressure.evaluation.scores import read_scores
from models_under_pressure.evaluation.summary import means_by_purpose
from models_under_pressure.report.commit import commit_of
from models_under_pressure.report.content import DatasetVersion, Report, TokenMap
from models_under_pressure.report.errors import worst_errors
from models_under_pressure.report.figures import find_figure
from models_under_pressure.report.page import render_page

PAGE = Path("plots/report.html")
DEMO = "demo-authors"
"""Who labelled the demo corpus."""


class ReportParams(Section):
    """What the report page shows."""

    figures: tuple[str, ...]
    """Names of figures, in order."""
    errors: int = Field(3, ge=0)
    """Worst errors of each method and dataset."""
    errors_of: tuple[str, ...] | None = None
    """Methods whose errors are shown; None: all."""


def command() -> None:
    """Write plots/report.html, a page with all results that needs no network.

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
    datasets: Sequence[Dataset],
    *,
    config: ReportParams,
    probes: Sequence[str],
    params: Mapping[str, Any],
    seed: int,
) -> None:
    """Write plots/report.html.

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
    origins = read_json(ORIGINS)
    origin = read_json(probe_paths(probes[0], seed, 1)[0] / "probe.json")["provenance"]
    scored = [
        scores
        for method in METHODS
        for scores in read_scores(scores_path(method))
        if purposes.get(scores.dataset, "train") != "train"
        and (config.errors_of is None or scores.probe in config.errors_of)
    ]
    by_id = {name: {record.id: record for record in found} for name, found in records.items()}
    report = Report(
        title="Models Under Pressure: high-stakes conversations",
        summary=_summary(origin, metrics, records),
        facts=_facts(origin, seed),
        metrics=metrics,
        groups={name: found["groups"] for name, found in evaluated.items() if purposes[name] != "train"},
        means=means_by_purpose(metrics, purposes),
        datasets=[_dataset(one, origins[one.name]["version"] or "-", records[one.name]) for one in datasets],
        figures=[find_figure(name) for name in config.figures],
        errors=worst_errors(scored, by_id, most=config.errors),
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
    overlaps = read_json(OVERLAPS)["compared"]
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


def _dataset(one: Dataset, version: str, records: Sequence[Record]) -> DatasetVersion:
    labels = Counter(record.label.value if record.label else "not labelled" for record in records)
    labellers = Counter(record.scale_label_model or "not recorded" for record in records)
    return DatasetVersion(
        name=one.name,
        purpose=one.purpose,
        version=version,
        path=one.path.as_posix(),
        rows=len(records),
        labels=dict(sorted(labels.items())),
        labelled_by=", ".join(sorted(labellers)),
        content_hash=hashlib.md5(one.path.read_bytes(), usedforsecurity=False).hexdigest(),
    )


def _token_map(row: Mapping[str, Any]) -> TokenMap:
    lists = ("choices", "texts", "roles", "logits", "contributions", "seen")
    columns: dict[str, Any] = {name: tuple(value) if name in lists else value for name, value in row.items()}
    return TokenMap(id=columns.pop("ids"), **columns)
