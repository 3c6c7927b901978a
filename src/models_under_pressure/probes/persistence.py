"""Probes on disk: safetensors weights, JSON, and a model card; never unpickled."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.core.files import (
    Frozen,
    atomic_path,
    check_weights,
    read_description,
    write_json,
    write_text,
)
from models_under_pressure.probes.calibration import Calibration, Threshold
from models_under_pressure.probes.families import ProbeConfig
from models_under_pressure.probes.probe import Probe

WEIGHTS, DESCRIPTION, CARD = "weights.safetensors", "probe.json", "README.md"
FORMAT = 1
"""Version of the layout; a reader refuses others."""


class _Description(Frozen):
    format: int
    weights_sha256: str
    config: ProbeConfig
    seed: int
    provenance: dict[str, Any]
    thresholds: tuple[Threshold, ...]
    calibration: Calibration | None
    metrics: dict[str, float]


_SAVED = tuple(name for name in _Description.model_fields if name not in ("format", "weights_sha256"))
"""Attributes of a probe that its description holds."""


def save_probe(probe: Probe, directory: Path) -> None:
    """Write a probe's files: the same probe gives the same bytes."""
    weights = weights_bytes(probe)
    with atomic_path(directory / WEIGHTS) as temporary:
        temporary.write_bytes(weights)
    saved: dict[str, Any] = {name: getattr(probe, name) for name in _SAVED}
    description = _Description(format=FORMAT, weights_sha256=hashlib.sha256(weights).hexdigest(), **saved)
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
    import safetensors.numpy

    untyped: Any = safetensors.numpy
    path = directory / DESCRIPTION
    remedy = "train it again"
    found = read_description(path, _Description, version=FORMAT, what="probe", remedy=remedy, upgrade=_upgrade)
    check_weights(directory / WEIGHTS, found.weights_sha256, what="probe", remedy="train the probe again")
    saved: dict[str, Any] = {name: getattr(found, name) for name in _SAVED}
    return Probe(weights=untyped.load_file(directory / WEIGHTS), **saved)


def _upgrade(content: dict[str, Any]) -> None:
    """Every probe saw the first token before there was a choice."""
    if isinstance(content.get("config"), dict):
        content["config"].setdefault("first_token", True)


def model_card(probe: Probe) -> str:
    """Markdown with the header that the Hugging Face Hub reads."""
    from models_under_pressure.core.html import template

    card = template("models_under_pressure.probes", "card.md.jinja")
    model = str(probe.provenance.get("model", ""))
    is_on_hub = model.count("/") == 1 and not model.startswith((".", "/", "~"))
    settings = probe.config.model_dump(mode="json", exclude={"seeds"})
    origin = dict(probe.provenance)
    return card.render(probe=probe, origin=origin, settings=settings, base=model if is_on_hub else None)
