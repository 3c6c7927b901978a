"""A tiny random model in a folder, and probes that read it."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["user system assistant the and you are is of to in "] * 20, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in ("<|im_start|>", "<|im_end|>")])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def store_of(model_folder, tmp_path_factory):
    """Extract records at layer 2, as the pipeline does."""
    from models_under_pressure.activations.config import ExtractConfig, ModelConfig
    from models_under_pressure.activations.extract import extract
    from models_under_pressure.activations.model import load_model
    from models_under_pressure.activations.store import open_store

    model = load_model(ModelConfig(name=str(model_folder), dtype="float32"), layers=[2])

    def make(records, **settings):
        path = tmp_path_factory.mktemp("store") / "layer_2.zarr"
        extract(records, model=model, config=ExtractConfig(**{"stored": "float32", **settings}), paths={2: path})
        return open_store(path)

    return make


@pytest.fixture(scope="session")
def fit(store_of):
    """Fit a probe of a family on two kinds of text."""
    from models_under_pressure.core.records import Label, Record
    from models_under_pressure.probes.data import with_labels
    from models_under_pressure.probes.families import FAMILIES
    from models_under_pressure.probes.training import fit_probe

    generator = np.random.default_rng(0)
    words = {Label.HIGH: ["bleeding", "overdose", "chest pain", "fire"], Label.LOW: ["cake", "poem", "garden", "song"]}
    records = [
        Record(id=f"t{number}", input=" ".join(generator.choice(words[label], 8)), label=label)
        for number, label in enumerate([Label.HIGH, Label.LOW] * 20)
    ]
    splits = [with_labels(store_of(part), part) for part in (records[:20], records[20:])]

    def fitted(name, **settings):
        return fit_probe(FAMILIES[name].config(**settings), *splits, seed=0)

    return fitted


@pytest.fixture(scope="session")
def probe(fit):
    return fit("attention", epochs=3, calibration="platt", tokens=("user", "assistant"))


@pytest.fixture
def probe_folder(probe, tmp_path):
    from models_under_pressure.probes.probe import save_probe

    save_probe(probe, tmp_path / "probe")
    return tmp_path / "probe"
