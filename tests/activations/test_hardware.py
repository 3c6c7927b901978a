"""The precision is chosen by what the hardware says, and quantised models run."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BitsAndBytesConfig

from models_under_pressure.activations.config import ExtractConfig, ModelConfig, resolve_dtype
from models_under_pressure.activations.extract import extract, recompute
from models_under_pressure.activations.model import load_model, model_of
from models_under_pressure.activations.store import open_store
from models_under_pressure.baselines.finetuned.classifier import resolve_precision
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.core.errors import UserError


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_fast_is_bfloat16_only_on_processors_that_multiply_it(capabilities, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_dtype(ModelConfig(device="cpu", dtype="fast")) == expected


def test_auto_is_float32_on_every_processor(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": True, "bf16": True})
    assert resolve_dtype(ModelConfig(device="cpu")) == torch.float32
    assert resolve_precision(FinetuneConfig(device="cpu")) == "float32"


@pytest.mark.parametrize("dtype", ["auto", "fast"])
@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_that_multiplies_bfloat16_uses_it(dtype, native, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert resolve_dtype(ModelConfig(device="cuda:1", dtype=dtype)) == expected
    assert resolve_precision(FinetuneConfig(device="cuda")) == ("mixed" if native else "float32")


def test_a_store_says_which_precision_was_used(model_directory, chats, tmp_path):
    store = extracted(ModelConfig(name=str(model_directory("llama")), device="cpu"), chats, tmp_path / "store.zarr")
    assert store.attributes["compute_dtype"] == "float32"


def test_a_pinned_precision_is_kept(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert resolve_dtype(ModelConfig(device="cpu", dtype="float32")) == torch.float32


def extracted(config, chats, path, **settings):
    model = load_model(config)
    extract(chats, model=model, config=ExtractConfig(**settings), paths={2: path})
    return open_store(path)


def similarity(first, second):
    ours, theirs = first.read(0, len(first.roles)), second.read(0, len(second.roles))
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float((np.sum(ours * theirs, axis=1) / norms).min())


@pytest.mark.parametrize(("quantization", "least"), [("8bit", 0.99), ("4bit", 0.95)])
def test_quantised_models_give_nearly_the_same_activations(quantization, least, model_directory, chats, tmp_path):
    name = str(model_directory("llama_wide"))
    exact = extracted(ModelConfig(name=name, dtype="float32"), chats, tmp_path / "exact.zarr")
    found = extracted(ModelConfig(name=name, quantization=quantization), chats, tmp_path / "quantised.zarr")
    assert found.attributes["quantization"] == quantization
    assert similarity(exact, found) > least
    assert not np.array_equal(exact.read_bits(0, 9), found.read_bits(0, 9))


@pytest.mark.parametrize("width", ["4", "8"])
def test_a_checkpoint_that_comes_quantised_is_loaded_as_it_is_and_the_store_says_so(
    width, model_directory, chats, tmp_path
):
    folder = tmp_path / "quantised"
    rounded = BitsAndBytesConfig(**{f"load_in_{width}bit": True})
    model = AutoModel.from_pretrained(model_directory("llama_wide"), quantization_config=rounded)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_directory("llama_wide")).save_pretrained(folder)
    found = extracted(ModelConfig(name=str(folder), dtype="float32"), chats, tmp_path / "a.zarr")
    assert found.attributes["quantization"] == f"bitsandbytes-{width}bit"
    exact = extracted(ModelConfig(name=str(model_directory("llama_wide")), dtype="float32"), chats, tmp_path / "b.zarr")
    assert similarity(exact, found) > 0.95
    assert not np.array_equal(exact.read_bits(0, 9), found.read_bits(0, 9))
    again = model_of(found.attributes)
    assert (again.name, again.quantization) == (str(folder), "none")
    assert recompute(found, sample=2, seed=0)
    with pytest.raises(UserError, match=f"comes quantised already .bitsandbytes-{width}bit"):
        load_model(ModelConfig(name=str(folder), quantization="4bit"))


def test_an_adapter_is_computed_beside_rounded_weights(model_directory, chats, tmp_path):
    import peft  # here: it takes seconds

    name = str(model_directory("llama_wide"))
    torch.manual_seed(0)
    config = peft.LoraConfig(target_modules=["q_proj", "down_proj"], r=4, init_lora_weights=False)
    peft.get_peft_model(AutoModel.from_pretrained(name), config).save_pretrained(tmp_path / "lora")
    wanted = {"name": name, "adapter": str(tmp_path / "lora"), "dtype": "float32"}
    exact = extracted(ModelConfig(**wanted), chats, tmp_path / "exact.zarr")
    found = extracted(ModelConfig(**wanted, quantization="8bit"), chats, tmp_path / "quantised.zarr")
    without = extracted(ModelConfig(name=name, dtype="float32"), chats, tmp_path / "without.zarr")
    assert similarity(exact, found) > 0.99 > similarity(exact, without)
