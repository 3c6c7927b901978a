"""Stores of two records, for tests that damage them."""

import numpy as np

from models_under_pressure.activations.ragged import TEMPLATE
from models_under_pressure.activations.writer import Layout, StoreWriter


def small_store(path, tokens):
    """Write it, with so many tokens in all; gives its path."""
    plan = Layout(
        attributes={"layer": 3},
        ids=["a", "b"],
        offsets=np.array([0, 2, tokens]),
        token_ids=np.arange(tokens, dtype=np.int32),
        roles=np.full(tokens, TEMPLATE, np.int8),
        hidden=4,
        dtype=np.dtype(np.uint16),
    )
    writer = StoreWriter(path, plan)
    for shard in range(plan.shards):
        first, last = plan.span(shard)
        writer.write(shard, np.full((last - first, 4), 16256, np.uint16))
    writer.finish()
    return path


def layout(rows=6, *, hidden=4, dtype=np.uint16, roles=TEMPLATE, **attributes):
    """What is stored beside the activations of two records."""
    return Layout(
        attributes={"layer": 3, **attributes},
        ids=["é", "z"],
        offsets=np.array([0, 2, rows]),
        token_ids=np.arange(rows, dtype=np.int32),
        roles=np.resize(np.array(roles, np.int8), rows),
        hidden=hidden,
        dtype=np.dtype(dtype),
    )


def shard_of(plan, number):
    """Its rows: numbers that count up through the store."""
    first, last = plan.span(number)
    return np.arange(first * 4, last * 4, dtype=plan.dtype).reshape(-1, 4)


def written(path, plan, *shards):
    """An unfinished store with so many of its shards."""
    writer = StoreWriter(path, plan)
    for shard in shards:
        writer.write(shard, shard_of(plan, shard))
    return writer
