"""Extracting the activations of datasets into one store per layer."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models_under_pressure.activations.blocks import check_layers
from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.engine import windows
from models_under_pressure.activations.model import LoadedModel, ModelDescription, describe_model, load_model
from models_under_pressure.activations.tokens import TokenisationReport
from models_under_pressure.activations.verify import Plan, holds, plan_stores
from models_under_pressure.activations.writer import StoreWriter
from models_under_pressure.core.progress import progress
from models_under_pressure.core.records import Record, read_records

Outcome = Literal["written", "resumed", "exists"]

_SHOWN = 5
"""Ids named in a message; the store's attributes list all."""


@dataclass(frozen=True)
class ExtractReport:
    """What an extraction did."""

    stores: Mapping[int, Outcome]
    """Layer -> what became of its store."""
    records: int
    tokens: int
    seconds: float
    """Wall clock of the forward passes and the writing, without loading the model."""
    tokenisation: TokenisationReport


def extract(
    records: Sequence[Record],
    *,
    model: ModelDescription,
    layers: Sequence[int],
    config: ExtractConfig,
    paths: Mapping[int, Path],
) -> ExtractReport:
    """Extract the activations of a dataset at several layers in one pass, into the store of each layer.

    A finished store of the same content is left alone; an unfinished one is continued at its first missing shard.

    Args:
        records: the dataset, in any order; rows of the store are in the order of the ids.
        model: the loaded model; for `engine: ray`, whose workers load their own, its description is enough.
        layers: decoder blocks, from 0.
        config: how activations are taken and kept.
        paths: layer -> path of its store.

    Raises:
        UserError: the model has no such layer; a record is refused by the chat template; a value is not finite; the
            disk is full or read-only.
    """
    check_layers(list(layers), model.n_layers, model.name)
    return _carry_out(plan_stores(records, model, layers, config), model, config, paths)


def _carry_out(plan: Plan, model: ModelDescription, config: ExtractConfig, paths: Mapping[int, Path]) -> ExtractReport:
    _tell(plan.tokenisation)
    start = time.monotonic()
    todo = {layer: layout for layer, layout in plan.layouts.items() if not holds(paths[layer], layout)}
    writers = {layer: StoreWriter(paths[layer], layout) for layer, layout in todo.items()}
    outcomes: dict[int, Outcome] = dict.fromkeys(plan.layouts, "exists")
    outcomes |= {layer: "resumed" if writer.resumed else "written" for layer, writer in writers.items()}
    if writers:
        _run(model, config, plan, writers)
        for writer in writers.values():
            writer.finish()
    tokens = sum(len(record.token_ids) for record in plan.tokenised)
    return ExtractReport(outcomes, len(plan.tokenised), tokens, time.monotonic() - start, plan.tokenisation)


def extract_files(
    jobs: Iterable[tuple[Path, Mapping[int, Path]]],
    *,
    model: ModelConfig,
    config: ExtractConfig,
) -> Iterator[tuple[Path, Outcome]]:
    """Extract several dataset files with one model load, or none if every store exists with the same content.

    Only the blocks that the deepest layer needs are loaded.

    Args:
        jobs: a dataset file, and the path of the store of each layer; for each dataset.
        model: the model.
        config: how activations are taken and kept.

    Yields:
        The path of each store and what became of it.
    """
    description = describe_model(model)
    todo = list(jobs)
    for file, stores in todo:
        check_layers(list(stores), description.n_layers, model.name)
        plan = plan_stores(read_records(file), description, list(stores), config)
        if all(holds(stores[layer], layout) for layer, layout in plan.layouts.items()):
            for path in stores.values():
                yield path, "exists"
            continue
        if config.engine == "local" and not isinstance(description, LoadedModel):
            deepest = max(layer for _, others in todo for layer in others)
            description = load_model(model, layers=[deepest])
        for layer, outcome in _carry_out(plan, description, config, stores).stores.items():
            yield stores[layer], outcome


def _run(
    model: ModelDescription,
    config: ExtractConfig,
    plan: Plan,
    writers: Mapping[int, StoreWriter],
) -> None:
    layout = next(iter(writers.values())).layout
    missing = {shard for writer in writers.values() for shard in writer.missing}
    todo = list(windows(layout.offsets, layout.shard_rows, missing, pooled=config.keep != "tokens"))
    total = sum(window.last_row - window.first_row for window in todo)
    unit = "tokens" if config.keep == "tokens" else "records"
    with progress(total, what=f"extract, layer {', '.join(map(str, writers))}", unit=unit) as shown:
        if config.engine == "ray":
            from models_under_pressure.activations.ray_engine import run_ray

            run_ray(todo, model=model, config=config, plan=plan, writers=writers, shown=shown)
            return
        from models_under_pressure.activations.engine import run_local

        if not isinstance(model, LoadedModel):
            raise TypeError("the local engine needs a loaded model")
        run_local(todo, model=model, config=config, plan=plan, writers=writers, shown=shown)


def _tell(report: TokenisationReport) -> None:
    """Say what was changed; silence would be a lie about the data."""
    log = logging.getLogger(__name__)
    if report.truncated:
        log.warning("%d records are longer than the limit and were cut: %s", *_named(report.truncated))
    if report.neutralised:
        log.warning("%d records spell special tokens; read as plain text: %s", *_named(report.neutralised))
    for normalisation, count in sorted(report.normalised.items()):
        log.warning("%d conversations changed for the chat template: %s", count, normalisation)


def _named(ids: Sequence[str]) -> tuple[int, str]:
    return len(ids), ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")
