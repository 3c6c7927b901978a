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

_given: list[Any] = []
"""What a process got once for all its jobs: the function and the data."""


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
    if min(processes, len(jobs)) < 2:
        _start(function, data)
        try:
            return [_run(job) for job in jobs]
        finally:
            _given.clear()
    count = min(processes, len(jobs))
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_start, initargs=(function, data)) as pool:
        return list(pool.map(_run, jobs))


def _start(function: Callable[[Any, Any], Any], data: Any) -> None:
    _given[:] = [function, data]


def _run(job: Any) -> Any:
    function, data = _given
    with threadpool_limits(1):
        return function(data, job)
