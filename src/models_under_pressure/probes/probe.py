"""A fitted probe, frozen and callable on ragged activations, NumPy only; and its files: JSON, safetensors, a card."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from models_under_pressure.activations.config import HookPoint, Keep
from models_under_pressure.activations.ragged import Activations
from models_under_pressure.core.errors import UserError, first_line
from models_under_pressure.core.files import (
    Frozen,
    atomic_path,
    check_weights,
    read_description,
    stable_hash,
    write_json,
    write_text,
)
from models_under_pressure.probes.calibration import Calibration, Threshold, sigmoid
from models_under_pressure.probes.data import check_same_origin
from models_under_pressure.probes.families import FAMILIES, ProbeConfig
from models_under_pressure.probes.family import Pooled, Segments
from models_under_pressure.probes.tokens import (
    SENTENCE_END_IDS,
    Block,
    Selection,
    record_blocks,
    refuse_non_finite,
    select,
)

_CACHED_TOKENS = 256
"""Tokens whose float64 values the cache still holds when they are multiplied."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Weights, what they were fitted on, and what their scores mean.

    Every score raises a UserError for activations of another model, revision, layer, hook point, template or width,
    that hold NaN, or that have a record without a token that the probe sees.
    """

    config: ProbeConfig
    weights: Mapping[str, np.ndarray]
    """`projection` [hidden, columns] and `bias` [columns] of a token's projections; `sentence_end_ids` where used."""
    seed: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Attributes of the training activations (model, revision, layer, hook point, template hash, …) and their hash."""
    thresholds: tuple[Threshold, ...] = ()
    """Thresholds of the logit at the false positive rates asked for, from the validation split."""
    calibration: Calibration | None = None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    """Metrics on the validation split, and how the fitting went."""
    history: tuple[Mapping[str, float], ...] = ()
    """Losses and validation AUROC after each epoch, one entry where a solver fits; not saved."""

    @property
    def family(self) -> str:
        """Name of the probe's family."""
        return self.config.family

    @property
    def hidden(self) -> int:
        """Width of the activations that the probe reads."""
        return len(self.weights["projection"])

    @property
    def directions(self) -> int:
        """Vectors that each token is multiplied with: what a score costs."""
        return self.weights["projection"].shape[1]

    def decision_function(self, activations: Activations) -> Float[np.ndarray, "records"]:
        """Logit of each record: the score to rank by; calibration leaves it as it is."""
        return self.pool(activations).logits

    def predict_proba(self, activations: Activations) -> Float[np.ndarray, "records"]:
        """Probability that each record is high-stakes."""
        return self.probabilities(self.decision_function(activations))

    def probabilities(self, logits: Float[np.ndarray, "records"]) -> Float[np.ndarray, "records"]:
        """Calibrated probability of each logit; the sigmoid where there is no calibration."""
        return sigmoid(logits) if self.calibration is None else self.calibration.probabilities(logits)

    def score_tokens(self, activations: Activations) -> Float[np.ndarray, "tokens"]:
        """Logit of each token on its own: what a record of this token only would score."""
        projections = self._project(activations)
        alone = Segments(np.arange(len(projections) + 1), np.ones(len(projections), dtype=bool))
        return FAMILIES[self.family].pool(projections, alone, self.config).logits

    def contributions(self, activations: Activations) -> Float[np.ndarray, "tokens"]:
        """What each token adds to its record's logit, which they sum to; 0 for roles that the probe does not see."""
        found = np.zeros(len(activations.roles))
        found[self._select(activations).chosen] = self.pool(activations).contributions
        return found

    def pool(self, activations: Activations, projections: Float[np.ndarray, "tokens columns"] | None = None) -> Pooled:
        """Pool the tokens that the probe sees; their projections are computed where they are not given."""
        selection = self._select(activations)
        if projections is None:
            projections = self._project(activations)
        segments = Segments(selection.offsets, selection.sentence_ends)
        return FAMILIES[self.family].pool(projections[selection.chosen], segments, self.config)

    def check(self, activations: Activations) -> None:
        """Refuse activations that the probe was not made for, reading none of them.

        Raises:
            UserError: naming the model, revision, layer, hook point, template or width that differs.
        """
        check_same_origin(self.provenance, activations.attributes, what="the activations")
        if activations.hidden != self.hidden:
            raise UserError(
                f"the activations are {activations.hidden} wide, the probe was made for {self.hidden}.",
                remedy="use activations of the probe's own model.",
            )

    def _select(self, activations: Activations) -> Selection:
        config = self.config
        ends = self.weights.get(SENTENCE_END_IDS)
        return select(activations, config.tokens, ends, first_token=config.first_token)

    def _project(self, activations: Activations) -> Float[np.ndarray, "tokens columns"]:
        self.check(activations)
        return _project(activations, self.weights["projection"], self.weights["bias"])


def score_together(probes: Sequence[Probe], activations: Activations) -> list[Float[np.ndarray, "records"]]:
    """`decision_function` of several probes, reading the activations once."""
    for probe in probes:
        probe.check(activations)
    projection = np.hstack([probe.weights["projection"] for probe in probes])
    bias = np.concatenate([probe.weights["bias"] for probe in probes])
    ends = np.cumsum([len(probe.weights["bias"]) for probe in probes])
    parts = np.split(_project(activations, projection, bias), ends[:-1], axis=1)
    return [probe.pool(activations, part).logits for probe, part in zip(probes, parts, strict=True)]


def _project(
    activations: Activations, projection: Float[np.ndarray, "hidden columns"], bias: Float[np.ndarray, "columns"]
) -> Float[np.ndarray, "tokens columns"]:
    """`x @ projection + bias` of each token, in float64 so that the cut into blocks leaves no trace.

    Raises:
        UserError: an activation is NaN or infinite.
    """
    offsets = np.asarray(activations.offsets)
    projections = np.empty((int(offsets[-1]), len(bias)))
    for first, stop in record_blocks(offsets, activations.hidden):
        start, end = int(offsets[first]), int(offsets[stop])
        values = activations.read(start, end)
        for piece in range(start, end, _CACHED_TOKENS):
            part = values[piece - start : piece - start + _CACHED_TOKENS]
            projections[piece : piece + len(part)] = np.asarray(part, dtype=np.float64) @ projection + bias
        if not np.isfinite(projections[start:end]).all():
            refuse_non_finite(Block(first, values, offsets[first : stop + 1] - start), activations)
    return projections


WEIGHTS, DESCRIPTION, CARD = "weights.safetensors", "probe.json", "README.md"
FORMAT = 1
"""Version of the layout; a reader refuses others."""
_SEAL = "description_sha256"
"""Key of the hash of all the others."""


class _Origin(BaseModel):
    """What scoring takes from the provenance, which holds more."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    adapter: str | None = None
    layer: int | None = Field(default=None, ge=0)
    keep: Keep | None = None
    hook_point: HookPoint | None = None
    max_tokens: int | None = Field(default=None, ge=2)
    truncation_side: Literal["left", "right"] | None = None


def _checked_origin(provenance: dict[str, Any]) -> dict[str, Any]:
    try:
        _Origin.model_validate(provenance)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return provenance


class _Description(Frozen):
    format: int
    weights_sha256: str
    config: ProbeConfig
    seed: int
    provenance: Annotated[dict[str, Any], AfterValidator(_checked_origin)]
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
    content = description.model_dump(mode="json")
    write_json(directory / DESCRIPTION, content | {_SEAL: stable_hash(content)})
    write_text(directory / CARD, model_card(probe))


def weights_bytes(probe: Probe) -> bytes:
    """The weights as safetensors."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in sorted(probe.weights.items())})


def weights_hash(probe: Probe) -> str:
    """SHA-256 (hex) of the weights."""
    return hashlib.sha256(weights_bytes(probe)).hexdigest()


def load_probe(directory: Path) -> Probe:
    """Read a probe.

    Raises:
        UserError: a file is missing or damaged, the files are not of one probe, or the format is not known.
    """
    path = directory / DESCRIPTION
    remedy = "train it again"

    def upgrade(content: dict[str, Any]) -> None:
        seal = content.pop(_SEAL, None)  # probes of before it have none
        if seal is not None and seal != stable_hash(content):
            problem = "the description is damaged, or was changed after the probe was saved."
            raise UserError(problem, where=str(path), remedy=f"run `dvc checkout`, or {remedy}.")
        if isinstance(content.get("config"), dict):
            content["config"].setdefault("first_token", True)  # every probe saw it before there was a choice

    found = read_description(path, _Description, version=FORMAT, what="probe", remedy=remedy, upgrade=upgrade)
    check_weights(directory / WEIGHTS, found.weights_sha256, what="probe", remedy="train the probe again")
    saved: dict[str, Any] = {name: getattr(found, name) for name in _SAVED}
    return Probe(weights=_read_weights(directory / WEIGHTS, found.config), **saved)


def _read_weights(path: Path, config: ProbeConfig) -> dict[str, np.ndarray]:
    """The weights of a probe, if they are what its family projects with.

    Raises:
        UserError: the file is no safetensors, or holds other arrays, other shapes, or numbers that are not finite.
    """
    untyped: Any = import_module("safetensors.numpy")
    family = FAMILIES[config.family]
    try:
        weights: dict[str, np.ndarray] = untyped.load_file(path)
        shapes = {name: array.shape for name, array in weights.items()}
        wanted = {"projection", "bias", *([SENTENCE_END_IDS] if family.by_sentence else [])}
        if set(shapes) != wanted:
            raise ValueError(f"the arrays are {sorted(shapes)}, not {sorted(wanted)}")
        columns = family.columns(config)
        hidden = weights["projection"].size // columns
        if not hidden or shapes["projection"] != (hidden, columns) or shapes["bias"] != (columns,):
            raise ValueError(
                f"the shapes are {shapes['projection']} and {shapes['bias']}, not (n, {columns}) and ({columns},)"
            )
        for name in ("projection", "bias"):
            if weights[name].dtype.kind != "f" or not np.isfinite(weights[name]).all():
                raise ValueError(f"not every number of {name} is finite")
        if family.by_sentence and (weights[SENTENCE_END_IDS].dtype.kind != "i" or len(shapes[SENTENCE_END_IDS]) != 1):
            raise ValueError(f"{SENTENCE_END_IDS} is no list of whole numbers")
    except Exception as error:  # the library raises errors of its own for each kind of damage
        problem = f"the weights are not those of a {config.family} probe ({first_line(error)})."
        raise UserError(problem, where=str(path), remedy="run `dvc checkout`, or train the probe again.") from None
    return weights


def model_card(probe: Probe) -> str:
    """Markdown with the header that the Hugging Face Hub reads."""
    from models_under_pressure.core.display import template

    card = template("models_under_pressure.probes", "card.md.jinja")
    model = str(probe.provenance.get("model", ""))
    is_on_hub = model.count("/") == 1 and not model.startswith((".", "/", "~"))
    settings = probe.config.model_dump(mode="json", exclude={"seeds"})
    origin = dict(probe.provenance)
    return card.render(probe=probe, origin=origin, settings=settings, base=model if is_on_hub else None)
