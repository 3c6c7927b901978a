"""Probes on disk: safetensors weights, JSON, and a model card; never unpickled."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from models_under_pressure.core.files import atomic_path, check_weights, read_description, write_json, write_text
from models_under_pressure.probes.calibration import Calibration, Threshold
from models_under_pressure.probes.families import ProbeConfig
from models_under_pressure.probes.probe import Probe

_INTRODUCTION = """\
Scores conversations as high-stakes or low-stakes from the activations of one layer of a language model
([arXiv 2506.10805](https://arxiv.org/abs/2506.10805)). `weights.safetensors` holds the projection of a token,
`probe.json` everything else; there is no code in this folder and nothing is unpickled.
"""

_USE = """\
```bash
mup score conversations.jsonl --probe .
```

The probe refuses activations of another model, revision, layer, hook point or chat template. Its thresholds and its
calibration come from a validation split; on text of another kind the same threshold gives another false positive rate.
"""


def model_card(probe: Probe) -> str:
    """Markdown with the header that the Hugging Face Hub reads."""
    origin = probe.provenance
    title = f"{probe.family} probe for {origin.get('model', 'an unnamed model')}, layer {origin.get('layer', '?')}"
    sections = [
        _header(probe),
        f"# {title}\n\n{_INTRODUCTION}",
        "## Use\n\n" + _USE,
        "## Validation split\n\n" + _validation(probe),
        "## Hyper-parameters\n\n" + _table(("name", "value"), _settings(probe)),
        "## Origin\n\n" + _table(("what", "value"), [*sorted(origin.items()), ("seed", probe.seed)]),
    ]
    return "\n".join(sections)


def _header(probe: Probe) -> str:
    model = str(probe.provenance.get("model", ""))
    lines = ["library_name: models-under-pressure", "tags:", "- activation-probe", "- safety"]
    if model.count("/") == 1 and not model.startswith((".", "/", "~")):
        lines.append(f"base_model: {model}")
    return "\n".join(["---", *lines, "---", ""])


def _validation(probe: Probe) -> str:
    if not probe.thresholds:
        return "None was given: there are no thresholds.\n"
    metrics = _table(("metric", "value"), [(name, _number(value)) for name, value in sorted(probe.metrics.items())])
    columns = ("FPR asked for", "flag logits from", "FPR found (95 % interval)", "TPR found")
    rows = [
        (
            _number(row.budget),
            "flag nothing" if row.logit is None else _number(row.logit),
            f"{row.fpr:.4f} ({row.fpr_low:.4f} to {row.fpr_high:.4f}, n = {row.negatives})",
            f"{row.tpr:.4f} (n = {row.positives})",
        )
        for row in probe.thresholds
    ]
    calibration = "none: the sigmoid of the logit" if probe.calibration is None else probe.config.calibration
    return f"{metrics}\n{_table(columns, rows)}\nCalibration of probabilities: {calibration}.\n"


def _settings(probe: Probe) -> list[tuple[str, object]]:
    settings = probe.config.model_dump(mode="json", exclude={"seeds"})
    return [
        (name, ", ".join(map(str, value)) if isinstance(value, list) else value) for name, value in settings.items()
    ]


def _table(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '¦') for cell in line)} |\n" for line in lines)


def _number(value: float) -> str:
    return f"{value:.4g}"


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
