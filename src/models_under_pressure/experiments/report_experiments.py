"""Write one page that holds the experiments and where they come from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import read_json, write_text
from models_under_pressure.core.layers import layers_text
from models_under_pressure.core.paths import (
    EXPERIMENT_RESULTS,
    ORIGINS,
    Dataset,
    datasets_in_use,
    evaluated_path,
    probe_paths,
)
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import EXPERIMENTS, Section, dotted, load_plain, read
from models_under_pressure.evaluation.report import means_by_purpose
from models_under_pressure.experiments.shared.monitors import language_models
from models_under_pressure.report.content import (
    INPUTS,
    Report,
    commit_of,
    dataset_version,
    find_figure,
    model_facts,
    notice,
    provenance,
)
from models_under_pressure.report.page import render_page

PAGE = Path("plots/experiments.html")


class ReportExperiments(Section):
    """What the page of the experiments shows."""

    figures: tuple[str, ...]
    """Names of figures, in order."""


def command() -> None:
    """Write plots/experiments.html, a page with the experiments that needs no network.

    Example: mup report_experiments
    """
    config = read("report_experiments", ReportExperiments, EXPERIMENTS)
    probes = list(read("train", dict[str, Any])["probes"])
    run(datasets_in_use(), config=config, probes=probes, params=load_plain(EXPERIMENTS), seed=read("seed", int))


def run(
    datasets: Sequence[Dataset],
    *,
    config: ReportExperiments,
    probes: Sequence[str],
    params: Mapping[str, Any],
    seed: int,
) -> None:
    """Write plots/experiments.html; the first of the probes says where activations come from.

    Raises:
        UserError: a figure, a result or a probe is missing.
    """
    models = {method: str(entry.get("model") or entry["name"]) for method, entry in language_models().items()}
    origin = read_json(probe_paths(probes[0], seed, 1)[0] / "probe.json")["provenance"]
    records = {one.name: read_records(one.path) for one in datasets}
    purposes = {one.name: one.purpose for one in datasets if one.purpose in ("dev", "test")}
    evaluated = {name: read_json(evaluated_path(name, EXPERIMENT_RESULTS)) for name in purposes}
    metrics = {name: found["metrics"] for name, found in evaluated.items() if found["metrics"]}
    origins, commit = read_json(ORIGINS), commit_of((*INPUTS, "experiments/dvc.yaml", str(EXPERIMENTS)))
    report = Report(
        title="Models Under Pressure: experiments",
        summary=f"Language models as monitors ({', '.join(models) or 'none'}) and the experiments of the paper. Probes "
        f"read {layers_text(origin)} of {origin['model']}."
        + notice(record for found in records.values() for record in found),
        facts=model_facts(origin, seed, commit) | {f"Model of {name}": model for name, model in models.items()},
        metrics=metrics,
        means=means_by_purpose(metrics, purposes) if metrics else {},
        groups={name: evaluated[name]["groups"] for name in metrics},
        datasets=[dataset_version(one, origins[one.name]["version"] or "-", records[one.name]) for one in datasets],
        figures=[find_figure(name) for name in config.figures],
        provenance=provenance(origin, commit),
        params=dotted(params),
    )
    write_text(PAGE, render_page(report))
