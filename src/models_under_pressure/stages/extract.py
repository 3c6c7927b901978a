"""Run the model over every dataset in use and keep what enters the layers that probes read."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.activations.config import ExtractConfig, ModelConfig, PipelineModel, ProbeParams
from models_under_pressure.core.files import write_text
from models_under_pressure.core.paths import (
    NO_CONTROL,
    Dataset,
    control_sets,
    dataset_in_use,
    datasets_in_use,
    layer_folder,
)
from models_under_pressure.core.section import model_aliases, read


def command(
    datasets: Annotated[list[str] | None, typer.Argument(help="Names of datasets in use; by default all.")] = None,
) -> None:
    """Extract the activations of the datasets in use at `probe.layer`, or at all of `probe.layers`, in one pass.

    What has not changed is kept.

    Example: mup extract
    """
    model, place = read("model", PipelineModel), read("probe", ProbeParams)
    if not control_sets():
        write_text(layer_folder(model.name, place.layer) / NO_CONTROL, "No control set is in use.\n")
    for path, outcome in run(
        [dataset_in_use(name) for name in datasets] if datasets else datasets_in_use(),
        alias=model.name,
        model=model.resolved(model_aliases()),
        place=place,
        config=read("extract", ExtractConfig),
    ):
        print(f"{outcome:8} {path}", flush=True)


def run(
    datasets: Sequence[Dataset], *, alias: str, model: ModelConfig, place: ProbeParams, config: ExtractConfig
) -> Iterator[tuple[Path, str]]:
    """Run the model over datasets, in one process, and write what enters each layer that probes read.

    Stores are made on a shelf outside the project and linked into it: DVC deletes a stage's outputs before it runs,
    and there a dataset that has not changed, a run that was killed, and an experiment in another folder find theirs.
    One process extracts at a time; others wait and find the stores done.

    Yields:
        The path of each store and what became of it: written, resumed or exists.

    Raises:
        RefusedError: once all others are stored, the chat template refuses more records than `config.allow_refused`.
    """
    from models_under_pressure.activations.extract import extract_on_shelf

    targets = [target for dataset in datasets for target in place.stores(alias, dataset).values()]
    made = extract_on_shelf([dataset.path for dataset in datasets], place.reads, model=model, config=config)
    for target, (_, store, outcome) in zip(targets, made, strict=True):
        _link_tree(store, target)
        yield target, outcome


def _link_tree(store: Path, target: Path) -> None:
    """Take a store into the project, in place of what stands there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    placing = target.with_name(f".{target.name}.placing")
    for path in (placing, target):
        if path.exists():
            shutil.rmtree(path)
    shutil.copytree(store, placing, copy_function=_link_or_copy)
    placing.rename(target)


def _link_or_copy(source: str, target: str) -> None:
    """A hard link takes no space; another disk gets a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
