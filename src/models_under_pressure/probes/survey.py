"""One pass over the tokens that gathers what every fitting needs: vectors per record, moments of the tokens."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models_under_pressure.probes.tokens import Selection, read_blocks


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over the tokens finds."""

    means: Float[np.ndarray, "records hidden"]
    """Mean of each record's tokens."""
    lasts: Float[np.ndarray, "records hidden"]
    """Last token of each record."""
    centre: Float[np.ndarray, "hidden"]
    """Mean over all tokens."""
    scale: Float[np.ndarray, "hidden"]
    """Standard deviation over all tokens; 1 where a feature is constant."""


def survey(selection: Selection) -> Survey:
    """Read the tokens once."""
    records, hidden = selection.records, selection.activations.hidden
    means = np.empty((records, hidden))
    lasts = np.empty((records, hidden), dtype=np.float32)
    count, centre, squares = 0, np.zeros(hidden), np.zeros(hidden)
    for block in read_blocks(selection):
        values, starts = block.values, block.offsets[:-1]
        lengths = np.diff(block.offsets)
        own = slice(block.first, block.first + len(lengths))
        sums = np.add.reduceat(values, starts, axis=0, dtype=np.float64)
        means[own] = sums / lengths[:, None]
        lasts[own] = values[block.offsets[1:] - 1]
        # Chan, Golub and LeVeque 1979: combine the moments of two batches without cancellation.
        size = len(values)
        mean = sums.sum(axis=0) / size
        gap = mean - centre
        squares += ((values - mean) ** 2).sum(axis=0) + gap**2 * (count * size / (count + size))
        centre += gap * (size / (count + size))
        count += size
    return Survey(means, lasts, centre, np.where(squares > 0, np.sqrt(squares / count), 1.0))
