"""Probes on disk: safetensors weights, JSON, and a model card; never unpickled."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from models_under_pressure.core.files import atomic_path, write_json, write_text
from models_under_pressure.core.saved import check_weights, read_description
from models_under_pressure.probes.calibration import Calibration
from models_under_pressure.probes.card import model_card
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.thresholds import Threshold

WEIGHTS, DESCRIPTION, CARD = "weights.safetensors", "probe.json", "README.md"
FORMAT = 1
"""Version of the layout; a reader refuses others."""


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    weights_sha256: str
    config: ProbeConfig
    seed: int
    provenance: dict[str, Any]
    thresholds: tuple[Threshold, ...]
    calibration: Calibration | None
    metrics: dict[str, float]


def save_probe(probe: Probe, directory: Path) -> None:
    """Write a probe's files: the same probe gives the same bytes."""
    weights = weights_bytes(probe)
    with atomic_path(directory / WEIGHTS) as temporary:
        temporary.write_bytes(weights)
    description = _Description(
        format=FORMAT,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        config=probe.config,
        seed=probe.seed,
        provenance=dict(probe.provenance),
        thresholds=probe.thresholds,
        calibration=probe.calibration,
        metrics=dict(probe.metrics),
    )
    write_json(directory / DESCRIPTION, description.model_dump(mode="json"))
    write_text(directory / CARD, model_card(probe))


def weights_bytes(probe: Probe) -> bytes:
    """The weights as safetensors."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in sorted(probe.weights.items())})


def load_probe(directory: Path) -> Probe:
    """Read a probe.

    Raises:
        UserError: a file is missing or damaged, the files are not of one probe, or the format is not known.
    """
    description = _read_description(directory / DESCRIPTION)
    return Probe(
        config=description.config,
        weights=_read_weights(directory / WEIGHTS, description.weights_sha256),
        seed=description.seed,
        provenance=description.provenance,
        thresholds=description.thresholds,
        calibration=description.calibration,
        metrics=description.metrics,
    )


def _read_description(path: Path) -> _Description:
    what = {"what": "probe", "remedy": "train it again"}
    return read_description(path, _Description, version=FORMAT, upgrade=_upgrade, **what)


def _upgrade(content: dict[str, Any]) -> None:
    """Every probe saw the first token before there was a choice."""
    if isinstance(content.get("config"), dict):
        content["config"].setdefault("first_token", True)


def _read_weights(path: Path, sha256: str) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    check_weights(path, sha256, what="probe", remedy="train the probe again")
    return load_file(path)
