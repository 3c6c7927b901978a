"""Small labelled sets with a planted direction, made from a seed."""

import numpy as np
import pytest

from models_under_pressure.activations.ragged import USER, ArrayActivations
from models_under_pressure.core.records import Label, Record
from models_under_pressure.experiments.shared.sets import LabelledSet
from models_under_pressure.probes.data import TrainingData

ORIGIN = {
    "model": "tiny",
    "revision": "0",
    "layer": 3,
    "hook_point": "residual",
    "template_hash": "t",
    "keep": "tokens",
}


@pytest.fixture(scope="session")
def make_set():
    """Records come in pairs, high and low; high-stakes tokens lean along one direction, `turn` tilts it."""

    def make(name="train", *, records=60, purpose="train", seed=0, strength=0.5, turn=0.0, hidden=8, fields=None):
        generator = np.random.default_rng(seed)
        axes = np.linalg.qr(np.random.default_rng(7).normal(size=(hidden, 2)))[0]
        direction = np.cos(turn) * axes[:, 0] + np.sin(turn) * axes[:, 1]
        lengths = generator.integers(2, 12, size=records)
        labels = np.arange(records) % 2 == 0
        signs = np.repeat(np.where(labels, strength, -strength), lengths)
        values = generator.normal(size=(lengths.sum(), hidden)) + signs[:, None] * direction
        ids = [f"{name}_{number:03}" for number in range(records)]
        groups = [f"{name}_pair_{number // 2}" for number in range(records)]
        activations = ArrayActivations(
            values=values.astype(np.float32),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            ids=ids,
            roles=np.full(len(values), USER, dtype=np.int8),
            attributes=ORIGIN,
            token_ids=np.arange(len(values), dtype=np.int32) % 50,
        )
        rows = [
            Record(
                id=id_,
                input=f"a conversation called {id_}",
                label=Label.HIGH if label else Label.LOW,
                fields={"pair_id": group} | {key: of[number % len(of)] for key, of in (fields or {}).items()},
            )
            for number, (id_, label, group) in enumerate(zip(ids, labels, groups, strict=True))
        ]
        return LabelledSet(name, purpose, TrainingData(activations, labels, groups), rows)

    return make
