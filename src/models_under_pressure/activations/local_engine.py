"""Extracting windows in this process, writing one while the next is computed."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from models_under_pressure.activations.compute import WindowComputer
from models_under_pressure.activations.config import ExtractConfig
from models_under_pressure.activations.forward import Kept, prepared
from models_under_pressure.activations.model import LoadedModel
from models_under_pressure.activations.provenance import Plan
from models_under_pressure.activations.windows import Window
from models_under_pressure.activations.writer import StoreWriter
from models_under_pressure.core.progress import Progress


def run_local(
    todo: Sequence[Window],
    *,
    model: LoadedModel,
    config: ExtractConfig,
    plan: Plan,
    writers: Mapping[int, StoreWriter],
    shown: Progress,
) -> None:
    """Compute windows one after the other and write their missing shards.

    Raises:
        UserError: a value is not finite, memory does not hold one record, or the disk is full.
    """
    offsets = next(iter(writers.values())).layout.offsets
    with prepared(model, list(writers), config) as forward, ThreadPoolExecutor(max_workers=1) as disk:
        computer = WindowComputer(forward, dict(enumerate(plan.tokenised)), offsets)
        writing: Future[None] | None = None
        for window in todo:
            values = computer.compute(window)
            if writing:
                writing.result()  # two windows in memory at most
            writing = disk.submit(_write, writers, window, values, shown)
        if writing:
            writing.result()


def _write(writers: Mapping[int, StoreWriter], window: Window, values: Mapping[int, Kept], shown: Progress) -> None:
    for layer, writer in writers.items():
        for shard in filter(writer.needs, window.shards):
            first, last = writer.layout.span(shard)
            writer.write(shard, values[layer][first - window.first_row : last - window.first_row])
    shown.advance(window.last_row - window.first_row)
