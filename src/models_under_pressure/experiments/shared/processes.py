"""Independent fits side by side: every core runs a process, every process one thread.

One thread in any case, so that results have the same bits on any number of cores.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

Job = TypeVar("Job")
Result = TypeVar("Result")

MOST = 4
"""Most processes: each holds a copy of the data."""


def cores() -> int:
    """Cores that this process may use, at most MOST."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST)


def each(function: Callable[[Any, Job], Result], data: Any, jobs: Sequence[Job], *, processes: int = 1) -> list[Result]:
    """`function(data, job)` of every job, in the order of the jobs.

    Args:
        function: a function at the top of a module, which other processes import.
        data: what all jobs read; a process gets it once.
        jobs: what the calls differ in.
        processes: number of processes; with one, all is done in this one.
    """
    count = min(processes, len(jobs))
    if count < 2:
        return [_alone(function, data, job) for job in jobs]
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_keep, initargs=(function, data)) as pool:
        return list(pool.map(_run_kept, jobs))


def _alone(function: Callable[[Any, Job], Result], data: Any, job: Job) -> Result:
    with threadpool_limits(1):
        return function(data, job)


_kept: tuple[Callable[[Any, Any], Any], Any] | None = None
"""In a process that was started for jobs: the function and the data, which it got once for all of them."""


def _keep(function: Callable[[Any, Any], Any], data: Any) -> None:
    global _kept
    _kept = function, data


def _run_kept(job: Any) -> Any:
    assert _kept is not None  # the process began with `_keep`
    return _alone(*_kept, job)
