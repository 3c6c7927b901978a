"""Extracting windows on the workers of a Ray cluster, into the same store.

Every window is a job of its own: a worker computes it and writes its shards, and only checksums travel back. The store
must be on a file system that all nodes share. Windows do not depend on who computes them (see `WindowComputer`), so the
bytes are those of the local engine on the same kind of device; a worker that is lost costs the windows it had.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.activations.config import ExtractConfig, ModelConfig, ModelDescription
from models_under_pressure.activations.engine import Window, WindowComputer
from models_under_pressure.activations.forward import prepared
from models_under_pressure.activations.model import load_model
from models_under_pressure.activations.tokens import TokenisedRecord
from models_under_pressure.activations.writer import StoreWriter, write_shard
from models_under_pressure.core.display import Progress
from models_under_pressure.core.errors import UserError

_LOSSES = 3
"""Times that one window may take its worker down before it is held to be the cause."""


Checksum = tuple[int, int, str]
"""Layer, shard, and the hash of its file."""


@dataclass(frozen=True, eq=False)
class Job:
    """A window, and all that a worker needs to write it."""

    window: Window
    records: Mapping[int, TokenisedRecord]
    shards: Sequence[tuple[int, Path, int, tuple[int, int]]]
    """(layer, path of the store, shard, its first row and the one after its last)."""


class Worker:
    """A process of the cluster with a model of its own."""

    def __init__(
        self, model: ModelConfig, layers: Sequence[int], config: ExtractConfig, offsets: np.ndarray, token: str | None
    ) -> None:
        if token:  # not by the environment that Ray gives its workers: its logs hold that
            os.environ["HF_TOKEN"] = token
        self._stack = ExitStack()
        self._forward = self._stack.enter_context(prepared(load_model(model, layers=layers), layers, config))
        self._offsets = offsets

    def run(self, job: Job) -> list[Checksum]:
        """Compute a window and write its shards."""
        values = WindowComputer(self._forward, job.records, self._offsets).compute(job.window)
        first_row = job.window.first_row
        return [
            (layer, shard, write_shard(path, shard, span, values[layer][span[0] - first_row : span[1] - first_row]))
            for layer, path, shard, span in job.shards
        ]


def run_ray(
    todo: Sequence[Window],
    tokenised: Sequence[TokenisedRecord],
    *,
    model: ModelDescription,
    config: ExtractConfig,
    writers: Mapping[int, StoreWriter],
    shown: Progress,
) -> None:
    """Spread windows over the cluster that RAY_ADDRESS names, or over this machine.

    Raises:
        UserError: Ray is not installed, a worker reports one, or a window takes down every worker that tries it.
    """
    # below `uv run` Ray would copy this folder to every worker and make an environment there; nodes have their own
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        ray = import_module("ray")
    except ImportError:
        raise UserError("Ray is not installed.", remedy="run `pip install 'models-under-pressure[ray]'`.") from None
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(log_to_driver=False)
    try:
        pool = _Pool(ray, model, config, writers)
        for job, finished in pool.run([_job(window, tokenised, writers) for window in todo]):
            for layer, shard, checksum in finished:
                writers[layer].record(shard, checksum)
            shown.advance(job.window.last_row - job.window.first_row)
    finally:
        if is_ours:
            ray.shutdown()


class _Pool:
    """Workers that take one job after the other; one that is lost is replaced, and its job given to another."""

    def __init__(
        self,
        ray: Any,
        model: ModelDescription,
        config: ExtractConfig,
        writers: Mapping[int, StoreWriter],
    ) -> None:
        gpus = 1 if model.device == "cuda" else 0
        cores = 1 if gpus else _cores(ray.nodes())
        offsets = ray.put(next(iter(writers.values())).layout.offsets)
        remote = ray.remote(num_gpus=gpus, num_cpus=cores)(Worker)
        self._ray = ray
        token = os.environ.get("HF_TOKEN")
        self._start: Callable[[], Any] = lambda: remote.remote(model.config, list(writers), config, offsets, token)
        self._count = _worker_count(config, ray.cluster_resources(), gpus=gpus, cores=cores)
        self._running: dict[Any, tuple[Any, Job]] = {}

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, list[Checksum]]]:
        """Yield each job with the checksums of its shards, in the order in which they finish."""
        waiting = list(reversed(jobs))
        losses: Counter[int] = Counter()
        for _ in range(min(self._count, len(jobs))):
            self._give(self._start(), waiting)
        while self._running:
            (done,), _ = self._ray.wait(list(self._running), num_returns=1)
            worker, job = self._running.pop(done)
            try:
                finished = self._ray.get(done)
            except self._ray.exceptions.RayActorError as error:
                losses[job.window.first_row] += 1
                if losses[job.window.first_row] >= _LOSSES:
                    raise _lost(job) from error
                waiting.append(job)
                self._give(self._start(), waiting)
                continue
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, UserError) else error from None
            yield job, finished
            self._give(worker, waiting)

    def _give(self, worker: Any, waiting: list[Job]) -> None:
        """Start the next job; a worker that gets none ends, and frees its place."""
        if waiting:
            job = waiting.pop()
            self._running[worker.run.remote(job)] = (worker, job)


def _cores(nodes: Sequence[Mapping[str, Any]]) -> int:
    """CPU cores of a worker without a GPU: two, if a node has as many."""
    return max(1, min(2, max(int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"])))


def _worker_count(config: ExtractConfig, resources: Mapping[str, float], *, gpus: int, cores: int) -> int:
    if config.workers != "auto":
        return config.workers
    return max(1, int(resources.get("GPU", 0) if gpus else resources.get("CPU", 1) // cores))


def _job(window: Window, tokenised: Sequence[TokenisedRecord], writers: Mapping[int, StoreWriter]) -> Job:
    shards = [
        (layer, writer.path.absolute(), shard, writer.layout.span(shard))
        for layer, writer in writers.items()
        for shard in filter(writer.needs, window.shards)
    ]
    return Job(window, {index: tokenised[index] for index in (*window.inside, *window.crossing)}, shards)


def _lost(job: Job) -> UserError:
    rows = f"rows {job.window.first_row} to {job.window.last_row}"
    return UserError(
        f"the workers that computed {rows} died {_LOSSES} times.",
        where=str(job.shards[0][1]),
        remedy="see Ray's logs; the memory of a node may be too small for the model.",
    )
