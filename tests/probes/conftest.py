"""Ragged activations with a planted direction, made from a seed."""

import numpy as np
import pytest

from models_under_pressure.activations.ragged import ASSISTANT, SYSTEM, TEMPLATE, USER, ArrayActivations
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
def origin():
    return ORIGIN


@pytest.fixture(scope="session")
def ragged():
    """Make activations from a list of [tokens, hidden] arrays."""

    def make(records, roles=None, attributes=ORIGIN):
        lengths = [len(record) for record in records]
        return ArrayActivations(
            values=np.concatenate(records).astype(np.float32),
            offsets=np.cumsum([0, *lengths]),
            ids=[f"r{number}" for number in range(len(records))],
            roles=np.full(sum(lengths), USER, dtype=np.int8) if roles is None else np.asarray(roles, dtype=np.int8),
            attributes=attributes,
        )

    return make


@pytest.fixture(scope="session")
def planted(ragged):
    """Make labelled data whose high-stakes records lean along one direction, in noise, with a huge first token."""

    def make(records=120, hidden=16, seed=0, strength=1.0, first_token=0.0, world=0):
        generator = np.random.default_rng(seed)
        direction = np.random.default_rng(world).normal(size=hidden)
        direction /= np.linalg.norm(direction)
        labels = np.arange(records) % 2 == 0
        scales, tokens = np.linspace(0.2, 3.0, hidden), []
        for label in labels:
            length = int(generator.integers(3, 60))
            values = generator.normal(size=(length, hidden)) * scales
            values += (strength if label else -strength) * direction
            values[0] += first_token
            tokens.append(values)
        return TrainingData(ragged(tokens), labels, [f"g{number // 2}" for number in range(records)])

    return make


@pytest.fixture(scope="session")
def every_role():
    return [SYSTEM, USER, ASSISTANT, TEMPLATE]
