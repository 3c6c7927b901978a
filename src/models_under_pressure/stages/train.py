"""Stage `train`: fit one probe."""

from pathlib import Path

from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.persistence import save_probe
from models_under_pressure.probes.training import fit_probe
from models_under_pressure.stages.labelled import labelled_activations
from models_under_pressure.stages.paths import PROBES


def run(
    name: str,
    *,
    config: ProbeConfig,
    train: tuple[Path, Path],
    validation: tuple[Path, Path],
    seed: int,
) -> None:
    """Fit a probe and save it under its name.

    Args:
        name: name of the probe.
        config: its family and hyper-parameters.
        train: (activation store, file of labelled records) to fit on.
        validation: the same, for early stopping and thresholds.
        seed: seed of every draw.
    """
    data, _ = labelled_activations(*train)
    held_out, _ = labelled_activations(*validation)
    save_probe(fit_probe(config, data, held_out, seed=seed), PROBES / name)
