"""A finished store of two records, for tests that damage it."""

import numpy as np

from models_under_pressure.activations.ragged import TEMPLATE
from models_under_pressure.activations.writer import Layout, StoreWriter


def small_store(path, tokens):
    """Write it, with so many tokens in all; gives its path."""
    layout = Layout(
        attributes={"layer": 3},
        ids=["a", "b"],
        offsets=np.array([0, 2, tokens]),
        token_ids=np.arange(tokens, dtype=np.int32),
        roles=np.full(tokens, TEMPLATE, np.int8),
        hidden=4,
        dtype=np.dtype(np.uint16),
    )
    writer = StoreWriter(path, layout)
    for shard in range(layout.shards):
        first, last = layout.span(shard)
        writer.write(shard, np.full((last - first, 4), 16256, np.uint16))
    writer.finish()
    return path
