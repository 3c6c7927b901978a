"""A fitted probe: frozen, small, callable on ragged activations; NumPy only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.errors import UserError
from models_under_pressure.probes.calibration import Calibration, sigmoid
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import Pooled
from models_under_pressure.probes.scoring import project
from models_under_pressure.probes.segments import Segments
from models_under_pressure.probes.thresholds import Threshold
from models_under_pressure.probes.tokens import select


@dataclass(frozen=True, eq=False)
class Probe:
    """Weights, what they were fitted on, and what their scores mean."""

    config: ProbeConfig
    weights: Mapping[str, np.ndarray]
    """`projection` [hidden, columns] and `bias` [columns] of each token's projections."""
    seed: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the training activations (model, revision, layer, hook point, template hash, …) and their hash."""
    thresholds: tuple[Threshold, ...] = ()
    """Thresholds of the logit at the false positive rates asked for, from the validation split."""
    calibration: Calibration | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Metrics on the validation split, and how the fitting went."""

    @property
    def family(self) -> str:
        """Name of the probe's family."""
        return self.config.family

    def decision_function(self, activations: Activations) -> Float[np.ndarray, "records"]:
        """Logit of each record: the score to rank by; calibration leaves it as it is.

        Raises:
            UserError: the activations have another width, hold NaN, or a record has no token that the probe sees.
        """
        return self.pool(activations).logits

    def predict_proba(self, activations: Activations) -> Float[np.ndarray, "records"]:
        """Probability that each record is high-stakes."""
        logits = self.decision_function(activations)
        return sigmoid(logits) if self.calibration is None else self.calibration.probabilities(logits)

    def score_tokens(self, activations: Activations) -> Float[np.ndarray, "tokens"]:
        """Logit of each token on its own: what the record would score if it held this token only."""
        projections = self._project(activations)
        alone = Segments(np.arange(len(projections) + 1))
        return FAMILIES[self.family].pool(projections, alone, self.config).logits

    def contributions(self, activations: Activations) -> Float[np.ndarray, "tokens"]:
        """What each token adds to its record's logit; 0 for tokens whose role the probe does not see."""
        chosen = select(activations, self.config.tokens).chosen
        contributions = np.zeros(len(chosen))
        contributions[chosen] = self.pool(activations).contributions
        return contributions

    def pool(self, activations: Activations) -> Pooled:
        """Pool the tokens that the probe sees."""
        selection = select(activations, self.config.tokens)
        projections = self._project(activations)[selection.chosen]
        return FAMILIES[self.family].pool(projections, Segments(selection.offsets), self.config)

    def _project(self, activations: Activations) -> Float[np.ndarray, "tokens columns"]:
        projection = self.weights["projection"]
        if activations.hidden != len(projection):
            raise UserError(
                f"the activations are {activations.hidden} wide, the probe was made for {len(projection)}.",
                remedy="use activations of the probe's own model.",
            )
        return project(activations, projection, self.weights["bias"])
