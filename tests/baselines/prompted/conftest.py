"""Tiny random language models of several families, each with a chat template of its own."""

import importlib.util
from pathlib import Path

import pytest

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_language_model
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Label, Record

_SPEC = importlib.util.spec_from_file_location("tiny", Path(__file__).parents[2] / "activations" / "conftest.py")
_TINY = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_TINY)


@pytest.fixture(scope="session")
def language_model_directory(tmp_path_factory):
    """Directory of a tiny model with its head, made once."""
    made = {}

    def directory(family: str) -> Path:
        if family not in made:
            import torch
            from transformers import AutoModelForCausalLM

            config, style = _TINY._families()[family]
            torch.manual_seed(len(family))
            made[family] = tmp_path_factory.mktemp(f"lm_{family}")
            model = AutoModelForCausalLM.from_config(config)
            for parameter in model.parameters():  # untrained models say nearly the same everywhere
                if parameter.dim() > 1:
                    parameter.data *= 4
            model.save_pretrained(made[family])
            tokenizer = _TINY.make_tokenizer(style, adds_bos=style in ("llama", "gemma"))
            tokenizer.save_pretrained(made[family])
        return made[family]

    return directory


@pytest.fixture(scope="session")
def language_model(language_model_directory):
    """A tiny model, loaded in float32."""

    def load(family: str):
        return load_language_model(ModelConfig(name=str(language_model_directory(family)), dtype="float32"))

    return load


@pytest.fixture
def conversations() -> LabelledRecords:
    """Conversations of very different lengths."""
    texts = ["A", "Is it safe to mix these?", "word " * 30, "naïve café 東京 🚀 " * 4, "line\n\nline " * 12]
    records = []
    for row in range(9):
        chat = (Message("user", texts[row % 5]), Message("assistant", texts[(row * 3 + 1) % 5]))
        content = chat if row % 2 else f"{texts[row % 5]} {row}"
        records.append(Record(f"r{row}", content, Label.HIGH if row % 3 else Label.LOW))
    return LabelledRecords("mt_dev", tuple(records))
