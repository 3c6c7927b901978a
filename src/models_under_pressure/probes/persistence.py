"""Probes on disk: safetensors weights, JSON, and a model card; never unpickled."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.errors import UserError
from models_under_pressure.files import atomic_path, read_json, write_json, write_text
from models_under_pressure.probes.calibration import Calibration
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.origin import check_same_origin
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.thresholds import Threshold

WEIGHTS, DESCRIPTION, CARD = "weights.safetensors", "probe.json", "README.md"
FORMAT = 1
"""Version of the layout; a reader refuses others."""


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    config: ProbeConfig
    seed: int
    provenance: dict[str, Any]
    thresholds: tuple[Threshold, ...]
    calibration: Calibration | None
    metrics: dict[str, float]


def save_probe(probe: Probe, directory: Path) -> None:
    """Write a probe's files: the same probe gives the same bytes."""
    from safetensors.numpy import save

    weights = {name: np.ascontiguousarray(array) for name, array in sorted(probe.weights.items())}
    with atomic_path(directory / WEIGHTS) as temporary:
        temporary.write_bytes(save(weights))
    description = _Description(
        format=FORMAT,
        config=probe.config,
        seed=probe.seed,
        provenance=dict(probe.provenance),
        thresholds=probe.thresholds,
        calibration=probe.calibration,
        metrics=dict(probe.metrics),
    )
    write_json(directory / DESCRIPTION, description.model_dump(mode="json"))
    write_text(directory / CARD, f"# {probe.family} probe\n")


def load_probe(directory: Path) -> Probe:
    """Read a probe.

    Raises:
        UserError: a file is missing or damaged, or its format is not known.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    where = directory / DESCRIPTION
    content = read_json(where)
    try:
        description = TypeAdapter(_Description).validate_python(content)
    except ValidationError as error:
        raise UserError(f"not a probe ({error}).", where=str(where), remedy="train it again.") from None
    if description.format != FORMAT:
        raise UserError(
            f"format {description.format} is not known, only {FORMAT}.", where=str(where), remedy="update this package."
        )
    try:
        weights = load((directory / WEIGHTS).read_bytes())
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"weights cannot be read ({error}).",
            where=str(directory / WEIGHTS),
            remedy="run `dvc repro` or `dvc pull`.",
        ) from None
    return Probe(
        config=description.config,
        weights=weights,
        seed=description.seed,
        provenance=description.provenance,
        thresholds=description.thresholds,
        calibration=description.calibration,
        metrics=description.metrics,
    )


def check_compatible(probe: Probe, activations: Activations) -> None:
    """Refuse activations that the probe was not made for.

    Raises:
        UserError: naming the model, revision, layer, hook point or template that differs.
    """
    check_same_origin(probe.provenance, activations.attributes, what="activations")
