"""One pass over the tokens that gathers what every fitting needs: vectors per record, and a sample of tokens."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models_under_pressure.probes.tokens import Selection, read_blocks

SAMPLE = 1024
"""Evenly spaced tokens kept as a sample."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over the tokens finds."""

    means: Float[np.ndarray, "records hidden"]
    """Mean of each record's tokens."""
    lasts: Float[np.ndarray, "records hidden"]
    """Last token of each record."""
    sample: Float[np.ndarray, "sampled hidden"]


def survey(selection: Selection) -> Survey:
    """Read the tokens once."""
    records, hidden, total = selection.records, selection.activations.hidden, int(selection.offsets[-1])
    means = np.empty((records, hidden))
    lasts = np.empty((records, hidden), dtype=np.float32)
    sampled = np.unique(np.linspace(0, total - 1, min(total, SAMPLE)).astype(np.int64))
    sample = np.empty((len(sampled), hidden), dtype=np.float32)
    for block in read_blocks(selection):
        own = slice(block.first, block.first + len(block.offsets) - 1)
        bounds = zip(block.offsets[:-1], block.offsets[1:], strict=True)
        # One sum per record: five times as fast as `np.add.reduceat` with a wider type.
        sums = [block.values[begin:end].sum(axis=0, dtype=np.float64) for begin, end in bounds]
        means[own] = np.array(sums) / np.diff(block.offsets)[:, None]
        lasts[own] = block.values[block.offsets[1:] - 1]
        start = int(selection.offsets[block.first])
        inside = slice(*np.searchsorted(sampled, [start, start + len(block.values)]))
        sample[inside] = block.values[sampled[inside] - start]
    return Survey(means, lasts, sample)
