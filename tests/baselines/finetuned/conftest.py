"""A tiny real model whose pad token ends turns, and a set of sentences that words tell apart."""

import importlib.util
from pathlib import Path

import pytest

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import describe_model
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.baselines.finetuned.reading import tokenised_split

SPEC = importlib.util.spec_from_file_location("making", Path(__file__).with_name("making.py"))
MAKING = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MAKING)


@pytest.fixture(scope="session")
def making():
    """The module that makes models and records."""
    return MAKING


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Directory of the model."""
    directory = tmp_path_factory.mktemp("tiny")
    MAKING.save_model(directory)
    return directory


@pytest.fixture(scope="session")
def settings(model):
    """A configuration for the tiny model; keywords change it."""

    def make(**changes):
        base = {
            "model": str(model),
            "method": "lora",
            "precision": "float32",
            "learning_rate": 5e-3,
            "batch_size": 8,
            "batch_tokens": 256,
            "epochs": 6,
            "patience": 6,
            "lora_rank": 4,
            "lora_alpha": 8,
        }
        return FinetuneConfig.model_validate(base | changes)

    return make


@pytest.fixture(scope="session")
def split(model, settings):
    """Tokenised sentences: number, and whether the labels are the wrong way round."""
    description = describe_model(ModelConfig(name=str(model)))

    def make(count, *, start=0, reversed_labels=False):
        return tokenised_split(
            MAKING.sentences(count, start=start, reversed_labels=reversed_labels), description, settings()
        )

    return make
