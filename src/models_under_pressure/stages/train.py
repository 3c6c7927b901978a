"""Fit one probe on the training prompts, from each of its seeds."""

from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.activations.config import PipelineModel, ProbeParams
from models_under_pressure.core.paths import probe_paths, store_path, the_one
from models_under_pressure.core.section import read
from models_under_pressure.core.settings import curve, load_settings
from models_under_pressure.probes.data import labelled_activations
from models_under_pressure.probes.families import ProbeConfig, TrainConfig
from models_under_pressure.probes.probe import save_probe
from models_under_pressure.probes.training import fit_probes
from models_under_pressure.probes.weights import RecordWeights


def command(probe: Annotated[str, typer.Argument(help="Name of the probe, as in params.yaml: train.probes.")]) -> None:
    """Fit one probe on the training prompts.

    Example: mup train attention
    """
    model, layer = read("model", PipelineModel).name, read("probe", ProbeParams).layer
    train, validation = the_one("train"), the_one("validation")
    config = read("train", TrainConfig)
    run(
        probe,
        config=config.probe(probe),
        weights=config.weights,
        train=(store_path(model, train, layer), train.path),
        validation=(store_path(model, validation, layer), validation.path),
        seed=read("seed", int),
    )


def run(
    name: str,
    *,
    config: ProbeConfig,
    weights: RecordWeights | None = None,
    train: tuple[Path, Path],
    validation: tuple[Path, Path],
    seed: int,
) -> None:
    """Fit a probe on an activation store and its records, and save it under its name and seed."""
    data, _ = labelled_activations(*train, weights)
    held_out, _ = labelled_activations(*validation)
    fitted = fit_probes({name: config}, data, held_out, seed=seed)[name]
    for probe, path in zip(fitted, probe_paths(name, seed, config.seeds), strict=True):
        save_probe(probe, path)
        with curve("train", name, probe.seed, config.model_dump(mode="json"), load_settings()) as watch:
            for epoch, values in enumerate(probe.history, start=1):
                watch(epoch, values)
