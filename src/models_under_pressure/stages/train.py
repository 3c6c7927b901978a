"""Fit one probe on the training prompts, from each of its seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.activations.config import PipelineModel, ProbeParams
from models_under_pressure.core.paths import Dataset, control_sets, probe_paths, the_one
from models_under_pressure.core.section import read
from models_under_pressure.core.settings import curve, load_settings
from models_under_pressure.probes.data import labelled_activations
from models_under_pressure.probes.families import ProbeConfig, TrainConfig
from models_under_pressure.probes.operating import with_control
from models_under_pressure.probes.probe import save_probe
from models_under_pressure.probes.training import fit_probes


def command(probe: Annotated[str, typer.Argument(help="Name of the probe, as in params.yaml: train.probes.")]) -> None:
    """Fit one probe on the training prompts.

    Example: mup train attention
    """
    model, place = read("model", PipelineModel).name, read("probe", ProbeParams)

    def data(dataset: Dataset) -> tuple[list[Path], Path]:
        return [*place.stores(model, dataset).values()], dataset.path

    run(
        probe,
        config=read("train", TrainConfig).probe(probe),
        train=data(the_one("train")),
        validation=data(the_one("validation")),
        control=[data(one) for one in control_sets()],
        seed=read("seed", int),
    )


def run(
    name: str,
    *,
    config: ProbeConfig,
    train: tuple[Sequence[Path], Path],
    validation: tuple[Sequence[Path], Path],
    control: Sequence[tuple[Sequence[Path], Path]] = (),
    seed: int,
) -> None:
    """Fit a probe on records and their stores, one per layer, and save it under its name and seed.

    Its thresholds are those that the control sets promise; without any, those of the validation split.
    """
    data, _ = labelled_activations(*train)
    held_out, _ = labelled_activations(*validation)
    fitted = fit_probes({name: config}, data, held_out, seed=seed)[name]
    ordinary = [labelled_activations(*one)[0] for one in control]
    for probe, path in zip(fitted, probe_paths(name, seed, config.seeds), strict=True):
        save_probe(with_control(probe, ordinary, held_out) if ordinary else probe, path)
        with curve("train", name, probe.seed, config.model_dump(mode="json"), load_settings()) as watch:
            for epoch, values in enumerate(probe.history, start=1):
                watch(epoch, values)
