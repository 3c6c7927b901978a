"""A fitted probe, frozen and callable on ragged activations; and its files: JSON, safetensors, a card."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from models_under_pressure.activations.config import HookPoint, Keep
from models_under_pressure.activations.ragged import Activations
from models_under_pressure.core.concept import STAKES, Classes
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
from models_under_pressure.evaluation.limits import LIMITS
from models_under_pressure.probes.calibration import Calibration, Threshold, sigmoid
from models_under_pressure.probes.data import check_same_origin
from models_under_pressure.probes.families import FAMILIES, ProbeConfig
from models_under_pressure.probes.markers import MARKER_IDS, MARKER_MOVES, Marker, checked_marker, marker_of_weights
from models_under_pressure.probes.tokens import SENTENCE_END_IDS

if TYPE_CHECKING:
    import torch

    from models_under_pressure.probes.module import ProbeModule

DeviceName = Literal["auto", "cpu", "cuda"]
"""Where probes compute: `auto` is CUDA where there is a GPU, and the CPU elsewhere."""


def device_of(name: DeviceName) -> "torch.device":
    """The device of that name.

    Raises:
        UserError: it is CUDA, and there is no GPU.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise UserError("torch finds no GPU.", remedy="use the device auto or cpu.")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


@dataclass(frozen=True, eq=False)
class Probe:
    """Weights, what they were fitted on, and what their scores mean.

    Every score raises a UserError for activations of another model, revision, layer, hook point, template or width,
    that hold NaN, or that have a record without a token that the probe sees.
    """

    config: ProbeConfig
    weights: Mapping[str, np.ndarray]
    """`projection` [hidden, columns] and `bias` [columns] of a token's projections, and what the family adds; and
    `sentence_end_ids`, or `marker_ids` and `marker_moves`, where used."""
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
    def classes(self) -> Classes:
        """The words for the classes that it tells apart."""
        named = self.provenance.get("classes")
        return STAKES if named is None else Classes.model_validate(named)

    @property
    def hidden(self) -> int:
        """Width of the activations that the probe reads."""
        return len(self.weights["projection"])

    @property
    def parameters(self) -> int:
        """Numbers that were fitted."""
        return sum(array.size for array in self.weights.values() if array.dtype.kind == "f")

    @property
    def sentence_end_ids(self) -> np.ndarray | None:
        """Ids of the tokens that close a sentence, where the family asks for them."""
        return self.weights.get(SENTENCE_END_IDS)

    @cached_property
    def marker(self) -> Marker | None:
        """What the tokens that it sees stand after, where its config says so."""
        return marker_of_weights(self.weights)

    @cached_property
    def module(self) -> "ProbeModule":
        """The torch module, in float64: `module(tokens, segments)` gives logits and contributions."""
        from models_under_pressure.probes.module import module_of

        return module_of(FAMILIES[self.family], self.config, self.weights)

    @property
    def directions(self) -> int:
        """Vectors that each token is multiplied with: what a score costs."""
        return self.weights["projection"].shape[1]

    def decision_function(self, activations: Activations) -> Float[np.ndarray, "records"]:
        """Logit of each record: the score to rank by; calibration leaves it as it is."""
        return score_together([self], activations)[0]

    def predict_proba(self, activations: Activations) -> Float[np.ndarray, "records"]:
        """Probability that each record is of the positive class."""
        return self.probabilities(self.decision_function(activations))

    def probabilities(self, logits: Float[np.ndarray, "records"]) -> Float[np.ndarray, "records"]:
        """Calibrated probability of each logit; the sigmoid where there is no calibration."""
        return sigmoid(logits) if self.calibration is None else self.calibration.probabilities(logits)

    def score_tokens(self, activations: Activations) -> Float[np.ndarray, "tokens"]:
        """Logit of each token on its own: what a record of this token only would score."""
        from models_under_pressure.probes.scoring import score_alone

        self.check(activations)
        return score_alone(self, activations, device_of("auto"))

    def contributions(self, activations: Activations) -> Float[np.ndarray, "tokens"]:
        """What each token adds to its record's logit, which they sum to; 0 for roles that the probe does not see."""
        from models_under_pressure.probes.scoring import pool_records

        self.check(activations)
        return pool_records([self], activations, device_of("auto"))[0][1]

    def transformed(self, projections: Float[np.ndarray, "tokens columns"]) -> Float[np.ndarray, "tokens _"]:
        """What is pooled, of tokens that are projected."""
        if not FAMILIES[self.family].more(self.config):
            return projections
        import torch

        with torch.no_grad():
            return self.module.transform(torch.as_tensor(projections)).numpy()

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


def score_together(
    probes: Sequence[Probe], activations: Activations, *, device: DeviceName = "auto"
) -> list[Float[np.ndarray, "records"]]:
    """`decision_function` of several probes, reading the activations once."""
    from models_under_pressure.probes.scoring import pool_records

    for probe in probes:
        probe.check(activations)
    return [logits for logits, _ in pool_records(probes, activations, device_of(device))]


WEIGHTS, DESCRIPTION, CARD = "weights.safetensors", "probe.json", "README.md"
FORMAT, OLDER = 2, (1,)
"""Version of the layout that is written, and those that are read too: 1 had no parameters but projection and bias."""
_SEAL = "description_sha256"
"""Key of the hash of all the others."""


class _Origin(BaseModel):
    """What scoring takes from the provenance, which holds more."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    classes: Classes | None = None
    adapter: str | None = None
    layer: int | None = Field(default=None, ge=0)
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
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

    found = read_description(
        path, _Description, version=FORMAT, older=OLDER, what="probe", remedy=remedy, upgrade=upgrade
    )
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
        columns, more = family.columns(config), family.more(config)
        wanted = {"projection", "bias", *more, *([SENTENCE_END_IDS] if family.by_sentence else [])}
        wanted |= {MARKER_IDS, MARKER_MOVES} if config.after else set()
        if set(weights) != wanted:
            raise ValueError(f"the arrays are {sorted(weights)}, not {sorted(wanted)}")
        if not (hidden := weights["projection"].size // columns):
            raise ValueError("projection is empty")
        for name, shape in {"projection": (hidden, columns), "bias": (columns,), **more}.items():
            if weights[name].shape != shape:
                raise ValueError(f"the shape of {name} is {weights[name].shape}, not {shape}")
            if weights[name].dtype.kind != "f" or not np.isfinite(weights[name]).all():
                raise ValueError(f"not every number of {name} is finite")
        if family.by_sentence and (weights[SENTENCE_END_IDS].dtype.kind != "i" or weights[SENTENCE_END_IDS].ndim != 1):
            raise ValueError(f"{SENTENCE_END_IDS} is no list of whole numbers")
        if config.after:
            checked_marker(weights, config.after)
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
    origin = {name: value for name, value in probe.provenance.items() if name != "classes"}
    base = model if is_on_hub else None
    return card.render(probe=probe, origin=origin, settings=settings, base=base, limits=LIMITS)
