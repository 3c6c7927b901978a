"""Linear probe, maximum of the sentences' means.

Formula: `logit = max_s mean_{t in sentence s} (w . x_t + b)`. A sentence ends after a token that ends in `.`, `!` or
`?`, closing quotes aside, and at the end of the record.

Regularisation: weight decay, early stopping on validation AUROC.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from models_under_pressure.probes.descent import DescentConfig, start_from_mean
from models_under_pressure.probes.family import Descent, Family, Pooled, Segments, mean_of_chosen


class Config(DescentConfig):
    """Linear probe, maximum of the sentences' means."""

    family: Literal["sentence_mean_max"] = "sentence_mean_max"


def pool(projections: Float[np.ndarray, "tokens 1"], segments: Segments, config: Config) -> Pooled:
    """The sentence with the highest mean; the first one of equals."""
    sentences = segments.sentences
    means = sentences.spread(sentences.sum(projections[:, 0]) / sentences.lengths)
    chosen_start = sentences.spread(sentences.offsets[:-1])
    best = chosen_start[segments.argmax(means)]
    return mean_of_chosen(projections, segments, chosen_start == segments.spread(best))


FAMILY = Family(config=Config, pool=pool, fitting=Descent(start=start_from_mean), by_sentence=True)
