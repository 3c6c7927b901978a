"""AUROC as rows of results, with intervals that know records and seeds; and fits side by side.

Every core runs a process, every process one thread: so results have the same bits on any number of cores.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.differences import averaged_auroc
from models_under_pressure.evaluation.metrics import auroc, tpr_at_fpr
from models_under_pressure.evaluation.report import mean_over_datasets
from models_under_pressure.experiments.shared.samples import Labelled

Row = dict[str, Any]
"""One line of a results file: what tells it from other lines, then what was measured."""
Logits = Sequence[Float[np.ndarray, "records"]]
"""Scores of one recipe on the same records, one list per seed or repeat."""


def auroc_row(logits: Logits, tested: Labelled, confidence: float) -> Row:
    """AUROC with its interval over records and seeds, that of each seed, and the mean TPR at an FPR of 1 %."""
    labels = tested.labels
    estimate = averaged_auroc(logits, labels, tested.groups, confidence=confidence)
    return estimate.columns("auroc") | {
        "auroc_of_each": [round(auroc(scores, labels), 4) for scores in logits],
        "tpr_at_1pct_fpr": round(float(np.mean([tpr_at_fpr(scores, labels) for scores in logits])), 4),
        "n": len(labels),
        "positives": int(labels.sum()),
    }


def size_rows(
    found: Mapping[tuple[str, str, int], Logits], tested: Sequence[Labelled], *, kind: str, confidence: float
) -> list[Row]:
    """Rows of the logits of each repeat by tested dataset, method and size, then their means over datasets."""
    by_name = {one.name: one for one in tested}
    rows: list[Row] = [
        {"dataset": dataset, "method": method, "kind": kind, "size": size, "repeats": len(logits)}
        | auroc_row(logits, by_name[dataset], confidence)
        for (dataset, method, size), logits in found.items()
    ]
    return [*rows, *means(rows, by=("method", "kind", "size", "repeats"))]


def means(rows: Sequence[Row], by: Sequence[str], *, datasets: int | None = None) -> list[Row]:
    """Mean over datasets of the rows that agree in the columns `by`; each dataset counts alike.

    Its `dataset` is `mean`. With `datasets`, groups of another number of rows have no mean.
    """
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        parts.setdefault(tuple(row[key] for key in by), []).append(row)
    return [
        {"dataset": "mean"} | dict(zip(by, key, strict=True)) | mean_over_datasets(part)
        for key, part in parts.items()
        if datasets in (None, len(part))
    ]


Job = TypeVar("Job")
Result = TypeVar("Result")

MOST = 4
"""Most processes, unless MUP_PROCESSES gives another number: each holds a copy of the data."""


def cores() -> int:
    """Cores that this process may use, at most MOST or, if it is set, `MUP_PROCESSES`.

    Raises:
        UserError: this is no number.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("MUP_PROCESSES", MOST)
    try:
        return max(1, min(usable, int(wanted)))
    except ValueError as error:
        remedy = "give a number of processes, or unset it."
        raise UserError(f"{wanted!r} is no number", where="MUP_PROCESSES", remedy=remedy) from error


def each(function: Callable[[Any, Job], Result], data: Any, jobs: Sequence[Job], *, processes: int = 1) -> list[Result]:
    """`function(data, job)` of every job, in their order; a function at the top of a module, for other processes.

    A process gets the data once; with one process, all is done in this one.
    """
    count = min(processes, len(jobs))
    if count < 2:
        with threadpool_limits(1):
            return [function(data, job) for job in jobs]
    with ProcessPoolExecutor(count, _starts(function.__module__), initializer=_keep, initargs=(function, data)) as pool:
        return list(pool.map(_run_kept, jobs))


def _starts(module: str) -> BaseContext:
    """New processes: forked from one that has the imports behind it and no thread, where there is such a way."""
    if "forkserver" not in get_all_start_methods() or sys.platform == "darwin":  # macOS: libraries forbid a fork
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["models_under_pressure.probes.scoring", "sklearn.linear_model", "torch", module])
    return context


_kept: list[Callable[[Any], Any]] = []
"""In a process that was started for jobs: the function with its data, which it got once for all of them."""


def _keep(function: Callable[[Any, Any], Any], data: Any) -> None:
    _kept.append(partial(function, data))


def _run_kept(job: Any) -> Any:
    with threadpool_limits(1):
        return _kept[0](job)
