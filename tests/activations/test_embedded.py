"""The embedded model loads offline, is converted once, and survives processes that convert at the same time."""

import threading
import time

import numpy as np
import pytest

from models_under_pressure.activations import embedded
from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_model
from models_under_pressure.core.errors import UserError


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """An empty cache, a small file in place of the weights, and a conversion that takes a moment."""
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"weights")
    conversions = []

    def convert(source, directory):
        directory.mkdir()
        (directory / "weights").write_bytes(source.read_bytes())
        conversions.append(directory)
        time.sleep(0.05)
        (directory / "converted.json").write_text("{}")

    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(embedded, "_gguf_file", lambda: gguf)
    monkeypatch.setattr(embedded, "_convert", convert)
    return gguf, conversions


def test_the_conversion_is_done_once_below_hf_home(fake, tmp_path):
    _, conversions = fake
    first, second = embedded.embedded_model(), embedded.embedded_model()
    assert first == second
    assert first.parent == tmp_path / "home" / "mup"
    assert len(conversions) == 1


def test_processes_that_convert_at_the_same_time_agree(fake):
    _, conversions = fake
    found = []
    threads = [threading.Thread(target=lambda: found.append(embedded.embedded_model())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert {path.name for path in found[0].parent.iterdir()} == {found[0].name, ".converting"}
    assert len(conversions) == 1


def test_a_conversion_that_fails_leaves_nothing(fake, monkeypatch):
    def fail(source, directory):
        directory.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "_convert", fail)
    with pytest.raises(UserError, match=r"No space left.*HF_HOME"):
        embedded.embedded_model()
    assert [path.name for path in embedded._cache().iterdir()] == [".converting"]


def test_other_weights_get_another_directory_and_revision(fake):
    gguf, _ = fake
    before = embedded.embedded_model()
    gguf.write_bytes(b"other weights")
    after = embedded.embedded_model()
    assert embedded.embedded_revision(before) != embedded.embedded_revision(after)


@pytest.mark.slow
def test_weights_are_those_of_the_gguf_file():
    from gguf import GGUFReader, dequantize
    from safetensors import safe_open

    directory = embedded.embedded_model()
    tensors = {tensor.name: tensor for tensor in GGUFReader(embedded._gguf_file()).tensors}
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.11.ffn_down.weight": "model.layers.11.mlp.down_proj.weight",
        "blk.29.attn_norm.weight": "model.layers.29.input_layernorm.weight",
    }
    with safe_open(directory / "model.safetensors", framework="np") as converted:
        for theirs, ours in names.items():
            tensor = tensors[theirs]
            rows = tensor.data[::50]  # each is quantised by itself
            np.testing.assert_array_equal(converted.get_tensor(ours)[::50], dequantize(rows, tensor.tensor_type))


@pytest.mark.slow
def test_the_embedded_model_loads_offline_with_its_first_blocks_only():
    model = load_model(ModelConfig(), layers=[11])
    assert (model.n_layers, model.hidden, len(model.model.layers)) == (30, 576, 12)
    assert model.tokenizer.chat_template
    assert model.revision == embedded.embedded_revision(embedded.embedded_model())


def test_a_model_that_does_not_exist_names_the_remedy():
    with pytest.raises(UserError, match=r"nobody/nothing: the model cannot be loaded.*smollm2-135m"):
        load_model(ModelConfig(name="nobody/nothing"))
