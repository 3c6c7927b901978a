"""Measure the scores that every method gave every dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import (
    RESULTS,
    Dataset,
    dataset_in_use,
    datasets_in_use,
    evaluated_path,
    scores_path,
)
from models_under_pressure.core.section import read
from models_under_pressure.evaluation.measure import METHODS, measure
from models_under_pressure.evaluation.report import EvaluateConfig


class Skipped(BaseModel):
    """What evaluation needs to know of the section `extract`."""

    allow_refused: int = 0
    """Records that the extraction may skip, which then have no score."""


def command(
    datasets: Annotated[list[str] | None, typer.Argument(help="Names of datasets in use; by default all.")] = None,
) -> None:
    """Measure the scores that every method gave the datasets in use.

    Example: mup evaluate
    """
    chosen = [dataset_in_use(name) for name in datasets] if datasets else datasets_in_use()
    files = [scores_path(method) for method in METHODS]
    config, seed, skipped = read("evaluate", EvaluateConfig), read("seed", int), read("extract", Skipped).allow_refused
    run(chosen, files=files, root=RESULTS, config=config, seed=seed, skipped=skipped)


def run(
    datasets: Sequence[Dataset],
    *,
    files: Sequence[Path],
    root: Path,
    config: EvaluateConfig,
    seed: int,
    skipped: int = 0,
) -> None:
    """Write what `measure` finds, a file per dataset, into a folder of results.

    Raises:
        UserError: see `measure`.
    """
    for name, found in measure(datasets, files=files, config=config, seed=seed, skipped=skipped).items():
        write_json(evaluated_path(name, root), found)
