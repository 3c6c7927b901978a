"""Extracting windows on the workers of a Ray cluster, into the same store.

Every window is a job of its own: a worker computes it and writes its shards, and only checksums travel back. The store
must be on a file system that all nodes share. Windows do not depend on who computes them (see `WindowComputer`), so the
bytes are those of the local engine on the same kind of device; a worker that is lost costs the windows it had.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.activations.compute import WindowComputer
from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.forward import prepared
from models_under_pressure.activations.model import ModelDescription, load_model
from models_under_pressure.activations.provenance import Plan
from models_under_pressure.activations.tokens import TokenisedRecord
from models_under_pressure.activations.windows import Window
from models_under_pressure.activations.writer import StoreWriter, write_shard
from models_under_pressure.errors import UserError
from models_under_pressure.progress import Progress

_LOSSES = 3
"""Times that one window may take its worker down before it is held to be the cause."""


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
        self._stack = ExitStack()
        self._forward = self._stack.enter_context(
            prepared(load_model(model, token=token, layers=layers), layers, config)
        )
        self._offsets = offsets

    def run(self, job: Job) -> list[tuple[int, int, str]]:
        """Compute a window and write its shards; returns (layer, shard, checksum) of each."""
        values = WindowComputer(self._forward, job.records, self._offsets).compute(job.window)
        first_row = job.window.first_row
        return [
            (layer, shard, write_shard(path, shard, span, values[layer][span[0] - first_row : span[1] - first_row]))
            for layer, path, shard, span in job.shards
        ]


def run_ray(
    todo: Sequence[Window],
    *,
    model: ModelDescription,
    config: ExtractConfig,
    plan: Plan,
    writers: Mapping[int, StoreWriter],
    shown: Progress,
    token: str | None,
) -> None:
    """Spread windows over the cluster that RAY_ADDRESS names, or over this machine.

    Raises:
        UserError: Ray is not installed, a worker reports one, or a window takes down every worker that tries it.
    """
    try:
        import ray
    except ImportError:
        raise UserError("Ray is not installed.", remedy="run `pip install 'models-under-pressure[ray]'`.") from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    offsets = ray.put(next(iter(writers.values())).layout.offsets)
    gpus = 1 if model.device == "cuda" else 0
    cores = 1 if gpus else 2
    remote: Any = ray.remote(num_gpus=gpus, num_cpus=cores)(Worker)
    count = _worker_count(config, ray.cluster_resources(), gpus=gpus, cores=cores)

    def start() -> Any:
        return remote.remote(model.config, list(writers), config, offsets, token)

    waiting = [_job(window, plan, writers) for window in reversed(todo)]
    losses: dict[int, int] = {}
    running: dict[Any, tuple[Any, Job]] = {}

    def give(worker: Any) -> None:
        if waiting:
            job = waiting.pop()
            running[worker.run.remote(job)] = (worker, job)

    for _ in range(min(count, len(todo))):
        give(start())
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        worker, job = running.pop(done)
        try:
            finished = ray.get(done)
        except ray.exceptions.RayActorError as error:
            losses[job.window.first_row] = losses.get(job.window.first_row, 0) + 1
            if losses[job.window.first_row] >= _LOSSES:
                raise _lost(job) from error
            waiting.append(job)
            give(start())
            continue
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, UserError) else error from None
        for layer, shard, checksum in finished:
            writers[layer].record(shard, checksum)
        shown.advance(job.window.last_row - job.window.first_row)
        give(worker)


def _worker_count(config: ExtractConfig, resources: Mapping[str, float], *, gpus: int, cores: int) -> int:
    if config.workers != "auto":
        return config.workers
    return max(1, int(resources.get("GPU", 0) if gpus else resources.get("CPU", 1) // cores))


def _job(window: Window, plan: Plan, writers: Mapping[int, StoreWriter]) -> Job:
    shards = [
        (layer, writer.path.absolute(), shard, writer.layout.span(shard))
        for layer, writer in writers.items()
        for shard in filter(writer.needs, window.shards)
    ]
    return Job(window, {index: plan.tokenised[index] for index in (*window.inside, *window.crossing)}, shards)


def _lost(job: Job) -> UserError:
    return UserError(
        f"the workers that computed rows {job.window.first_row} to {job.window.last_row} died {_LOSSES} times.",
        where=str(job.shards[0][1]),
        remedy="see Ray's logs; the memory of a node may be too small for the model.",
    )
