"""Linear probe, maximum over tokens (`max` of McKenzie et al. 2025, table 1).

Formula: `logit = max_t (w . x_t + b)`, over the record's own tokens only.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from models_under_pressure.probes.family import Descent, DescentConfig, Family, start_from_mean
from models_under_pressure.probes.pooling import Pooled, Segments, mean_of_chosen

if TYPE_CHECKING:
    from torch import Tensor


class Config(DescentConfig):
    """Linear probe, maximum over tokens; the paper's hyper-parameters."""

    family: Literal["max"] = "max"


def pool(projections: "Float[Tensor, 'tokens 1']", segments: Segments, config: Config) -> Pooled:
    """The highest token; the first one of equals."""
    values = projections[:, 0]
    highest = segments.argmax(values) - segments.offsets[:-1]
    return mean_of_chosen(values, segments, segments.places == segments.spread(highest))


class Stream:
    """Running maximum."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._highest = -np.inf

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token."""
        self._highest = max(self._highest, float(projection[0]))
        return self._highest


FAMILY = Family(config=Config, pool=pool, stream=Stream, fitting=Descent(start=start_from_mean))
