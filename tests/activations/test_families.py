"""Numbers equal those of Hugging Face, for every family and both hook points."""

import numpy as np
import pytest
import torch
from transformers import AutoModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.forward import prepared
from models_under_pressure.activations.model import load_model
from models_under_pressure.activations.packing import Packing
from models_under_pressure.activations.store import to_float32
from models_under_pressure.activations.tokens import tokenise
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record

INPUT_NORMS = {
    "llama": "layers.2.input_layernorm",
    "mistral": "layers.2.input_layernorm",
    "qwen2": "layers.2.input_layernorm",
    "qwen3": "layers.2.input_layernorm",
    "gemma2": "layers.2.input_layernorm",
    "gemma3": "layers.2.input_layernorm",
    "gemma3_multimodal": "language_model.layers.2.input_layernorm",
    "phi": "layers.2.input_layernorm",
    "phi3": "layers.2.input_layernorm",
    "phi3_long": "layers.2.input_layernorm",
    "gpt2": "h.2.ln_1",
    "neox": "layers.2.input_layernorm",
    "bloom": "h.2.input_layernorm",
}
"""Family -> input norm of block 2, as the family's source names it."""
FINAL_NORMS = {"gemma3_multimodal": "language_model.norm", "phi": "final_layernorm", "gpt2": "ln_f"} | {
    "neox": "final_layer_norm",
    "bloom": "ln_f",
}
"""Family -> final norm, where it is not called `norm`."""
PACK = {family: family not in ("gemma2", "bloom", "phi3_long") for family in INPUT_NORMS}
"""Gemma 2 caps its attention scores and BLOOM biases them, which only their own attention does; the angles of Phi-3's
long contexts depend on the longest record of a batch."""


def tokens_of(model, records):
    return tokenise(records, model.tokenizer, name="m", max_tokens=2048, truncation_side="right")[0]


def run(model, records, layers, **config):
    with prepared(model, layers, ExtractConfig(batch_tokens=512, **config)) as forward:
        return forward.packs, dict(forward.run(dict(enumerate(records))))


def bits(states):
    return states.to(torch.bfloat16).view(torch.uint16).numpy()


@pytest.mark.parametrize("packing", ["off", "auto"])
@pytest.mark.parametrize("family", INPUT_NORMS)
def test_hidden_states_equal_those_of_hugging_face(family, packing, model_directory, chats):
    directory = model_directory(family)
    model = load_model(ModelConfig(name=str(directory), dtype="float32"))
    records = tokens_of(model, chats)
    packs, residual = run(model, records, [0, 2, 3], packing=packing)
    _, normed = run(model, records, [2], packing=packing, hook_point="post_norm")
    assert packs == (packing == "auto" and PACK[family])

    reference = AutoModel.from_pretrained(directory, dtype=torch.float32).eval()
    outputs = []
    reference.get_submodule(INPUT_NORMS[family]).register_forward_hook(lambda _m, _a, out: outputs.append(out))
    for index, record in enumerate(records):
        with torch.inference_mode():
            ids = torch.from_numpy(record.token_ids).long()[None]
            states = reference(input_ids=ids, output_hidden_states=True).hidden_states
        for layer in (0, 2, 3):
            close(residual[index][layer], states[layer][0])
        close(normed[index][2], outputs[-1][0])


@pytest.mark.parametrize("family", INPUT_NORMS)
def test_the_layer_after_the_last_block_is_what_the_final_norm_reads(family, model_directory, chats):
    directory = model_directory(family)
    model = load_model(ModelConfig(name=str(directory), dtype="float32"), layers=[-1])
    records = tokens_of(model, chats)
    _, found = run(model, records, [3, 4])
    reference = AutoModel.from_pretrained(directory, dtype=torch.float32).eval()
    norm = reference.get_submodule(FINAL_NORMS.get(family, "norm"))
    read = []
    norm.register_forward_pre_hook(lambda _m, args: read.append(args[0]))
    for index, record in enumerate(records):
        with torch.inference_mode():
            ids = torch.from_numpy(record.token_ids).long()[None]
            states = reference(input_ids=ids, output_hidden_states=True).hidden_states
            torch.testing.assert_close(norm(read[-1]), states[-1])  # Hugging Face's last entry is after the norm
        close(found[index][3], states[3][0])
        close(found[index][4], read[-2][0])
        assert len(states) == 5


def test_no_input_norm_reads_what_leaves_the_last_block(tiny):
    with pytest.raises(UserError, match=r"no block's input norm reads it.*residual"):
        run(tiny, [], [4], hook_point="post_norm")


def close(found, expected):
    """Equal up to one step of bfloat16, which float32's last bits can tip over."""
    expected = bits(expected)
    assert found.shape == expected.shape
    widened = [np.left_shift(values, 16, dtype=np.uint32).view(np.float32) for values in (found, expected)]
    np.testing.assert_allclose(*widened, rtol=2**-7, atol=1e-5)
    assert (found == expected).mean() > 0.99


@pytest.mark.parametrize("packing", ["off", "auto"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_numbers_of_a_record_do_not_depend_on_its_batch(packing, dtype, model_directory, chats):
    model = load_model(ModelConfig(name=str(model_directory("mistral")), dtype=dtype))
    records = tokens_of(model, chats)
    packs, together = run(model, records, [3], packing=packing)
    assert packs == (packing == "auto")
    for index, record in enumerate(records):
        alone = run(model, [record], [3], packing=packing)[1][0]
        ours, theirs = map(to_float32, (alone[3], together[index][3]))
        # a processor may sum in another order for another number of rows; in bfloat16 that shows at every layer
        most = 2**-8 if dtype == "bfloat16" else 2**-12
        assert np.linalg.norm(ours - theirs) < most * np.linalg.norm(theirs)


def test_batches_that_run_side_by_side_give_the_bits_of_one_core(model_directory, chats):
    model = load_model(ModelConfig(name=str(model_directory("qwen3")), dtype="bfloat16"))
    records = tokens_of(model, chats * 3)
    cores = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(run(model, records, [1, 3])[1])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(cores)
    for index in range(len(records)):
        for layer in (1, 3):
            np.testing.assert_array_equal(results[0][index][layer], results[1][index][layer])


def test_loading_fewer_blocks_changes_nothing(model_directory, chats):
    config = ModelConfig(name=str(model_directory("gemma3")), dtype="float32")
    whole, part = load_model(config), load_model(config, layers=[1, 2])
    assert part.n_layers == whole.n_layers == 4
    assert len(part.model.layers) == 3
    records = tokens_of(whole, chats)
    expected, found = run(whole, records, [1, 2])[1], run(part, records, [1, 2])[1]
    for index in expected:
        np.testing.assert_array_equal(expected[index][2], found[index][2])


def test_the_block_of_the_deepest_residual_layer_does_not_run(model_directory, chats):
    model = load_model(ModelConfig(name=str(model_directory("llama")), dtype="float32"))
    ran = []
    model.model.layers[2].mlp.register_forward_hook(lambda *_: ran.append(2))
    model.model.layers[1].mlp.register_forward_hook(lambda *_: ran.append(1))
    run(model, tokens_of(model, chats[:1]), [1, 2])
    assert set(ran) == {1}


def test_a_model_without_input_norms_is_refused_for_post_norm_only(model_directory, chats):
    model = load_model(ModelConfig(name=str(model_directory("olmo2")), dtype="float32"))
    records = tokens_of(model, chats)
    run(model, records, [2])
    with pytest.raises(UserError, match=r"begins with Linear, not with a norm.*residual"):
        run(model, records, [2], hook_point="post_norm")


def test_a_bidirectional_model_is_refused(model_directory, chats):
    model = load_model(ModelConfig(name=str(model_directory("bert")), dtype="float32"))
    with pytest.raises(UserError, match="not causal"):
        run(model, [], [2])


def test_attention_that_crosses_records_is_found_at_the_start(model_directory, monkeypatch):
    def careless(self, module, query, key, value, attention_mask, **settings):
        return sdpa_attention_forward(module, query, key, value, None, **settings)

    monkeypatch.setattr(Packing, "attend", careless)
    packs, _ = run(load_model(ModelConfig(name=str(model_directory("neox")), dtype="float32")), [], [2])
    assert not packs


def test_hooks_and_attention_are_gone_afterwards(tiny):
    before = tiny.model.config._attn_implementation
    packs, _ = run(tiny, [], [2])
    assert packs
    assert tiny.model.config._attn_implementation == before
    assert not any(block._forward_pre_hooks for block in tiny.model.layers)


def test_values_that_are_not_finite_name_the_record(model_directory, chats):
    model = load_model(ModelConfig(name=str(model_directory("llama")), dtype="float32"))
    records = tokens_of(model, [*chats, Record("odd one", "ÿ")])
    odd = next(record for record in records if record.id == "odd one")
    others = {token for record in records if record is not odd for token in record.token_ids.tolist()}
    with torch.no_grad():
        model.model.embed_tokens.weight[list(set(odd.token_ids.tolist()) - others)] = float("nan")
    with pytest.raises(UserError, match="record 'odd one': activations at layer 1 are not finite.*token"):
        run(model, records, [1])
