"""Measure the scores that every method gave every dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from models_under_pressure.core.files import read_json, write_json
from models_under_pressure.core.paths import (
    RESULTS,
    Dataset,
    dataset_in_use,
    datasets_in_use,
    evaluated_path,
    probe_paths,
    scores_path,
)
from models_under_pressure.core.section import read
from models_under_pressure.evaluation.measure import METHODS, measure
from models_under_pressure.evaluation.operating_points import Stored
from models_under_pressure.evaluation.report import EvaluateConfig


class Skipped(BaseModel):
    """What evaluation needs to know of the section `extract`."""

    allow_refused: int = 0
    """Records that the extraction may skip, which then have no score."""


def command(
    datasets: Annotated[list[str] | None, typer.Argument(help="Names of datasets in use; by default all.")] = None,
) -> None:
    """Measure the scores that every method gave the datasets in use, and the probes' stored thresholds on them.

    Example: mup evaluate
    """
    chosen = [dataset_in_use(name) for name in datasets] if datasets else datasets_in_use()
    files = [scores_path(method) for method in METHODS]
    config, seed, skipped = read("evaluate", EvaluateConfig), read("seed", int), read("extract", Skipped).allow_refused
    stored = stored_thresholds(read("train", dict[str, Any])["probes"], seed)
    run(chosen, files=files, root=RESULTS, config=config, seed=seed, skipped=skipped, stored=stored)


def stored_thresholds(probes: Mapping[str, Mapping[str, Any]], seed: int) -> Stored:
    """The thresholds of the trained probes; those that were refused are left out.

    An ensemble, which scores with the mean of its seeds, has none: each seed's are for its own logits.

    Raises:
        UserError: a probe's description is missing.
    """
    found: dict[tuple[str, int], dict[float, float | None]] = {}
    for name, config in probes.items():
        if config.get("ensemble"):
            continue
        for path in probe_paths(name, seed, config.get("seeds", 1)):
            probe = read_json(path / "probe.json")
            rows = [row for row in probe["thresholds"] if not row.get("refused")]
            found[name, probe["seed"]] = {row["budget"]: row["logit"] for row in rows}
    return found


def run(
    datasets: Sequence[Dataset],
    *,
    files: Sequence[Path],
    root: Path,
    config: EvaluateConfig,
    seed: int,
    skipped: int = 0,
    stored: Stored | None = None,
) -> None:
    """Write what `measure` finds, a file per dataset, into a folder of results.

    Raises:
        UserError: see `measure`.
    """
    measured = measure(datasets, files=files, config=config, seed=seed, skipped=skipped, stored=stored or {})
    for name, found in measured.items():
        write_json(evaluated_path(name, root), found)
