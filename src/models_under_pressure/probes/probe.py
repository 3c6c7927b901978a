"""A fitted probe: frozen, small, callable on ragged activations; NumPy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.core.errors import UserError
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
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the training activations (model, revision, layer, hook point, template hash, …) and their hash."""
    thresholds: tuple[Threshold, ...] = ()
    """Thresholds of the logit at the false positive rates asked for, from the validation split."""
    calibration: Calibration | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
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
