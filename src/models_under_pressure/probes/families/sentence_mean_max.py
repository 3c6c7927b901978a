"""Linear probe, maximum of the sentences' means.

Formula: `logit = max_s mean_{t in sentence s} (w . x_t + b)`. A sentence ends after a token that ends in `.`, `!` or
`?`, closing quotes aside, and at the end of the record.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from models_under_pressure.probes.family import Descent, DescentConfig, Family, start_from_mean
from models_under_pressure.probes.pooling import MeanStream, Pooled, Segments, mean_of_chosen

if TYPE_CHECKING:
    from torch import Tensor


class Config(DescentConfig):
    """Linear probe, maximum of the sentences' means."""

    family: Literal["sentence_mean_max"] = "sentence_mean_max"


def pool(projections: "Float[Tensor, 'tokens 1']", segments: Segments, config: Config) -> Pooled:
    """The sentence with the highest mean; the first one of equals."""
    values, sentences = projections[:, 0], segments.sentences
    best = sentences.record[segments.argmax(sentences.spread(sentences.mean(values)))]
    return mean_of_chosen(values, segments, sentences.record == segments.spread(best))


class Stream:
    """Running mean of the open sentence, and the highest mean of a closed one."""

    def __init__(self, config: Config) -> None:
        """Start without tokens."""
        self._highest, self._open = -np.inf, MeanStream(config)
        self._config = config

    def update(self, projection: Float[np.ndarray, "1"], closes_sentence: bool) -> float:
        """Take one more token; the open sentence counts as if the record ended here."""
        found = max(self._highest, self._open.update(projection, closes_sentence))
        if closes_sentence:
            self._highest, self._open = found, MeanStream(self._config)
        return found


FAMILY = Family(config=Config, pool=pool, stream=Stream, fitting=Descent(start=start_from_mean), by_sentence=True)
